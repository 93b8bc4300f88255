"""The incomplete orders as people and programs see them: how many, why, how old, and the oldest one by one.

Method: states made by the real folds, in partitions in memory; the text of the metrics, parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from streams.model.order import OrderState, fold_order, fold_order_detail
from streams.model.order_life import deny
from streams.model.published import IncompleteReason
from streams.runtime.faust.table import NotHere, TransactionalTable
from streams.runtime.partition.processor import PartitionView
from streams.runtime.testing import MemoryPartition
from tables.order_state import CODEC
from tables.views import incomplete
from tests.support.builders import COMMITTED_MS, detail_change, order_change


class Orders:
    """The states of two partitions: even numbers in one, odd ones in the other; and the table over them.

    Attributes:
        not_here: keys whose partition has just gone.
    """

    def __init__(self) -> None:
        self.stores: list[dict[bytes, bytes]] = [{}, {}]
        self.not_here: set[str] = set()

    def keep(self, number: int, state: OrderState) -> None:
        self.stores[number % 2][b"%d" % number] = CODEC.encode(state)

    def get(self, key: str) -> OrderState | None:
        if key in self.not_here:
            raise NotHere(key)
        stored = self.stores[int(key) % 2].get(key.encode())
        return None if stored is None else CODEC.decode(stored)

    def partitions(self) -> list[PartitionView]:
        places = [MemoryPartition(number, store, CODEC) for number, store in enumerate(self.stores)]
        for place in places:
            place.now_ms = COMMITTED_MS + 100_000
        return list(places)

    def listing(self, limit: int = 100) -> dict[str, Any]:
        return incomplete.listing(cast(TransactionalTable, self), self.partitions(), limit)


def lines_only(after_ms: int) -> OrderState:
    state = OrderState()
    fold_order_detail(state, detail_change(10, at_ms=COMMITTED_MS + after_ms))
    return state


def waiting(after_ms: int | None, *, reported: bool = False) -> OrderState:
    state = OrderState()
    fold_order(state, order_change(10, num_products=3, at_ms=0 if after_ms is None else COMMITTED_MS + after_ms))
    state.reported = reported
    return state


def finished() -> OrderState:
    state = OrderState()
    fold_order(state, order_change(10, num_products=1))
    fold_order_detail(state, detail_change(20))
    return state


def held() -> OrderState:
    state = finished()
    deny(state, emitted_elsewhere=False)
    return state


@pytest.fixture
def orders() -> Orders:
    """Five incomplete orders of every reason and a finished one."""
    orders = Orders()
    states = [lines_only(5_000), waiting(2_000), waiting(9_000, reported=True), held(), finished(), waiting(None)]
    for number, state in enumerate(states):
        orders.keep(number, state)
    return orders


def test_they_are_counted_by_reason_over_all_partitions(orders: Orders) -> None:
    assert incomplete.counts(orders.partitions()) == {
        IncompleteReason.NO_ORDER_ROW: 1,
        IncompleteReason.PRODUCTS_MISSING: 3,
        IncompleteReason.HELD: 1,
    }


def test_the_oldest_age_leaves_out_orders_whose_time_is_not_known(orders: Orders) -> None:
    assert incomplete.oldest_seconds(orders.partitions()) == {
        IncompleteReason.NO_ORDER_ROW: 95.0,
        IncompleteReason.PRODUCTS_MISSING: 98.0,
        IncompleteReason.HELD: 100.0,
    }


def test_without_incomplete_orders_everything_is_zero() -> None:
    orders = Orders()
    orders.keep(1, finished())
    assert orders.listing() == {
        "count": 0,
        "by_reason": {"no_order_row": 0, "products_missing": 0, "held_by_another_deployment": 0},
        "oldest_age_s": 0.0,
        "partitions": [0, 1],
        "orders": [],
    }


def test_a_short_list_reads_few_of_many_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    orders, read = Orders(), 0
    for number in range(500):
        orders.keep(number, waiting(number))
    every_timer = MemoryPartition.timers

    def timers(self: MemoryPartition, kind: int) -> Iterator[tuple[int, bytes]]:
        nonlocal read
        for entry in every_timer(self, kind):
            read += 1
            yield entry

    monkeypatch.setattr(MemoryPartition, "timers", timers)
    monkeypatch.setattr(MemoryPartition, "count", lambda self, kind: 0)  # a store keeps the counts
    assert [line["order_id"] for line in orders.listing(limit=50)["orders"]] == [str(number) for number in range(50)]
    assert read < 60, "those that are listed, and the oldest of each partition and kind"


def test_a_worker_without_partitions_lists_nothing() -> None:
    assert incomplete.counts([])[IncompleteReason.HELD] == 0
    assert set(incomplete.oldest_seconds([]).values()) == {0.0}


def test_the_listing_says_of_each_what_is_missing_and_since_when(orders: Orders) -> None:
    [line] = [line for line in orders.listing()["orders"] if line["order_id"] == "2"]
    assert line == {
        "order_id": "2",
        "reason": "products_missing",
        "num_products": 3,
        "products_present": 0,
        "first_seen_at": "2026-01-02T03:04:14Z",
        "age_s": 91.0,
        "reported": True,
    }


def test_the_listing_has_the_oldest_of_all_reasons_and_partitions_first(orders: Orders) -> None:
    listed = orders.listing()
    assert [line["order_id"] for line in listed["orders"]] == ["5", "3", "1", "0", "2"]
    assert (listed["orders"][0]["first_seen_at"], listed["orders"][0]["age_s"]) == (None, None)


@pytest.mark.parametrize("limit", [0, 1, 3, 9])
def test_a_short_list_is_the_beginning_of_the_long_one(orders: Orders, limit: int) -> None:
    assert orders.listing(limit)["orders"] == orders.listing()["orders"][:limit]
    assert orders.listing(limit)["count"] == 5


def test_an_order_whose_partition_goes_meanwhile_is_listed_by_what_its_timer_knows(orders: Orders) -> None:
    orders.not_here = {"2"}
    [line] = [line for line in orders.listing()["orders"] if line["order_id"] == "2"]
    assert (line["reason"], line["num_products"], line["age_s"]) == ("products_missing", None, 91.0)
