"""Goal: an order is stale only if its newest record differs from the database twice, and nothing has changed.

Method: records as Python objects, a topic of amendments that is a list per reading, and the database as a dictionary
per reading. The real comparison runs in tests/lake/commands/test_reconcile.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from config.dataset import load_definition
from config.engines import engine_of
from config.engines.base import Connection
from ops.dataset import newest
from ops.dataset.final_topic import FinalRecord, Order, PaymentMethod, Product
from ops.dataset.newest import NO_LONGER_EXISTS, Published, stale_orders
from streams.model.published import OrderStatus
from tests.support.builders import as_json

DEFINITION = load_definition("project_db")
ORDER = Order(
    order_id="a",
    customer_id=7,
    store_id=1,
    payment_method=PaymentMethod(3, "Visa", None),
    num_products=1,
    products=[Product(1, 2)],
    ordered_at="2025-06-01T12:00:00.000000Z",
)
PUBLISHED = Published.of(ORDER)
DELETED = Published(order_id="a", status=OrderStatus.DELETED, revision=2)

Source = dict[str, Published | None]


class Amendments:
    """A topic of amendments: each reading visits the next list of records."""

    def __init__(self, *readings: list[bytes]) -> None:
        self._readings = list(readings)

    def visit_to_end(self, visit: Callable[[bytes | None, bytes | None], None]) -> None:
        for value in self._readings.pop(0) if self._readings else []:
            visit(b"a", value)


def amended(order: Published, **changed: Any) -> bytes:
    return as_json(msgspec.to_builtins(msgspec.structs.replace(order, **changed)))


def stale(monkeypatch: pytest.MonkeyPatch, first: Source, second: Source, *amendments: list[bytes]) -> dict[str, str]:
    """Compare the published order with the database as it is at first, and after the pause."""
    sources = [first, second]
    monkeypatch.setattr(newest, "source_orders", lambda *_: sources.pop(0))
    monkeypatch.setattr(newest, "PAUSE_S", 0)
    reader: Any = Amendments(*amendments)
    return stale_orders(None, DEFINITION, [FinalRecord("a", ORDER)], reader)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "source", "fault"),
    [
        (PUBLISHED, PUBLISHED, None),
        (PUBLISHED, None, NO_LONGER_EXISTS),
        (DELETED, None, None),
        (DELETED, PUBLISHED, "is deleted in the topics, but complete in the database"),
        (PUBLISHED, msgspec.structs.replace(PUBLISHED, store_id=2, products=()), "differs in store_id, products"),
    ],
)
def test_a_record_names_its_fault(record: Published, source: Published | None, fault: str | None) -> None:
    assert record.fault(source) == fault


def test_an_order_that_differs_twice_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stale(monkeypatch, {}, {}) == {"a": NO_LONGER_EXISTS}


def test_the_newest_revision_counts_wherever_it_is_in_the_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    older = amended(PUBLISHED, revision=1)
    assert stale(monkeypatch, {}, {}, [amended(DELETED), older]) == {}


def test_an_order_that_agrees_at_the_second_reading_is_not_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stale(monkeypatch, {}, {"a": PUBLISHED}) == {}
    assert stale(monkeypatch, {}, {}, [], [amended(DELETED)]) == {}


def test_an_order_whose_record_changed_between_the_readings_is_not_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stale(monkeypatch, {}, {}, [], [amended(PUBLISHED, revision=1, store_id=2)]) == {}


def test_an_order_whose_rows_break_a_rule_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stale(monkeypatch, {"a": None}, {"a": None}) == {}
    assert stale(monkeypatch, {}, {"a": None}) == {}


def test_an_amendment_that_cannot_be_decoded_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stale(monkeypatch, {"a": PUBLISHED}, {}, [b"{ no json"]) == {}


def test_rows_that_break_a_rule_have_no_order_to_compare_with() -> None:
    found = newest.source_orders(Connection(engine_of(DEFINITION), Database()), DEFINITION)
    assert {order_id: order and (order.status.value, order.products) for order_id, order in found.items()} == {
        "complete": ("complete", (newest._Product(1, 2), newest._Product(2, 1))),
        "incomplete": ("incomplete", ()),
        "none expected": None,
        "expectation missing": None,
        "quantity 0": None,
        "quantity missing": None,
    }


class Database:
    """A connection that answers the two queries, lines first."""

    def __init__(self) -> None:
        lines = [("complete", 2, 1), ("complete", 1, 2), ("quantity 0", 1, 0), ("quantity missing", 1, None)]
        expected = {"complete": 2, "incomplete": 1, "none expected": 0, "expectation missing": None}
        expected |= {"quantity 0": 1, "quantity missing": 1}
        orders = [(order_id, 7, 1, 3, number) for order_id, number in expected.items()]
        self._answers: list[list[tuple[Any, ...]]] = [lines, orders]
        self._answer: list[tuple[Any, ...]] = []

    def cursor(self) -> Database:
        return self

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None: ...
    def rollback(self) -> None: ...
    def start_transaction(self, **_: Any) -> None: ...
    def execute(self, *_: Any) -> None:
        self._answer = self._answers.pop(0)

    def fetchmany(self, _: int) -> list[tuple[Any, ...]]:
        block, self._answer = self._answer, []
        return block
