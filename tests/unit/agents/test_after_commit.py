"""Goal: nothing is marked, cached, counted or logged before its commit, and nothing committed is left unmarked.

Method: turns of the real folds through `OrderCompletion`; the guard in memory writes marks when a test says so.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, cast

import pytest

from agents.completion import OrderCompletion
from agents.guard.locks import token_of
from agents.held_orders import LONGEST_PAUSE_S
from agents.order_log import OrderLog
from agents.order_timers import OrderTimers
from streams.model.order import OrderState, fold_order, fold_order_detail
from streams.model.order_life import deny
from streams.model.published import PaymentMethod
from streams.runtime.partition.batch import BatchOwner, OutputRecord, RecordBatch
from streams.runtime.partition.turn import Turn
from streams.runtime.testing import Consumed, MemoryPartition
from tables.order_cache import CachedOrder
from tables.order_state import CODEC
from tests.support.builders import COMMITTED_MS, detail_change, order_change
from tests.support.fakes import KnownPaymentMethods
from tests.unit.agents.deployment import at_once
from tests.unit.agents.fake_guard import FakeGuard


class KeptCache:
    """A cache that keeps what it is given."""

    def __init__(self) -> None:
        self.puts: list[dict[str, CachedOrder | None]] = []

    def put(self, orders: dict[str, CachedOrder | None], /) -> None:
        if orders:
            self.puts.append(dict(orders))


class AfterCommitTestbed:
    """A completion with everything around it, and one partition."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.guard = FakeGuard(marks_at_once=False)
        self.cache = KeptCache()
        self.stored: dict[bytes, bytes] = {}
        self.partition = MemoryPartition(0, self.stored, CODEC)
        self.processor = OrderCompletion(
            payment_methods=KnownPaymentMethods(PaymentMethod(3, "Visa", "First Bank")),
            payment_method_wait_s=0,
            guard=self.guard,
            cache=self.cache,
            timers=OrderTimers(incomplete_after_s=60, retention_s=0, clock=lambda: self.now_s),
            order_log=OrderLog(enabled=True),
            app_id="mine",
        )
        self.token = token_of("mine", self.partition.incarnation)

    def published(self, *changes: Any) -> tuple[Turn, list[OutputRecord]]:
        """A turn up to its commit, and the records of that."""
        turn = Turn(self.stored.get, CODEC, self.processor.dead_letter)
        batches = []
        for number, change in enumerate(changes):
            batch = RecordBatch(
                "t", 0, number, [Consumed("t", 0, number, change.key, b"", COMMITTED_MS)], cast(BatchOwner, None)
            )
            batch.changes = [change]
            batches.append((batch, cast(Any, fold_order if hasattr(change.row, "num_products") else fold_order_detail)))
        turn.fold(batches)
        return turn, at_once(self.processor.publish(turn, self.partition))

    def committed(self, *changes: Any) -> list[OutputRecord]:
        """A whole turn."""
        turn, records = self.published(*changes)
        self.stored |= {key: state for key, state in turn.encoded_states() if state is not None}
        self.processor.committed(turn, self.partition)
        return records

    def fire_timers(self, now_s: float) -> list[str]:
        """A turn of the timers that are due; the ids of the orders whose locks were requested."""
        self.now_s, calls = now_s, len(self.guard.claimed)
        turn = Turn(self.stored.get, CODEC, self.processor.dead_letter)
        turn.fire(list(self.processor.due_timers(self.partition)))
        at_once(self.processor.publish(turn, self.partition))
        self.stored |= {key: state for key, state in turn.encoded_states() if state is not None}
        self.processor.committed(turn, self.partition)
        return [claim.order_id for claims, _ in self.guard.claimed[calls:] for claim in claims]


@pytest.fixture
def testbed() -> AfterCommitTestbed:
    return AfterCommitTestbed()


def completing(order_id: str = "order-1") -> list[Any]:
    return [order_change(10, order_id, num_products=1), detail_change(20, order_id)]


def encoded(*changes: Any) -> bytes:
    state = OrderState()
    for change in changes:
        (fold_order if hasattr(change.row, "num_products") else fold_order_detail)(state, change)
    return CODEC.encode(state)


# -- marks ------------------------------------------------------------------------------------------------------------


def test_an_order_is_marked_only_after_its_commit(testbed: AfterCommitTestbed) -> None:
    turn, _ = testbed.published(*completing())
    testbed.guard.write_marks()
    assert testbed.guard.locks == {"order-1": f"claimed:{testbed.token}"}
    testbed.processor.committed(turn, testbed.partition)
    testbed.guard.write_marks()
    assert testbed.guard.locks == {"order-1": f"emitted:{testbed.token}"}


def test_what_is_committed_is_settled_once_its_marks_are_written(testbed: AfterCommitTestbed) -> None:
    testbed.committed(*completing("a"), *completing("b"))
    assert testbed.partition.unsettled == 1
    testbed.guard.write_marks()
    assert testbed.partition.unsettled == 0


def test_a_turn_without_a_complete_order_owes_nothing(testbed: AfterCommitTestbed) -> None:
    testbed.committed(order_change(10))
    testbed.committed(*completing("a"))
    testbed.guard.write_marks()
    testbed.committed(detail_change(30, "a", quantity=2))
    assert testbed.partition.unsettled == 0
    assert testbed.guard.counts["marks"] == 1, "an amendment is no mark"


def test_a_new_task_marks_the_recent_orders_that_went_out(testbed: AfterCommitTestbed) -> None:
    denied = OrderState()
    fold_order(denied, order_change(10, "r", num_products=1))
    fold_order_detail(denied, detail_change(20, "r"))
    deny(denied, emitted_elsewhere=True)
    recent: Sequence[tuple[bytes, bytes | None]] = [
        (b"a", encoded(*completing("a"))),
        (b"waits", encoded(order_change(10, "waits"))),
        (b"b", encoded(order_change(10, "b"))),
        (b"b", encoded(*completing("b"))),
        (b"gone", encoded(*completing("gone"))),
        (b"gone", None),
        (b"r", CODEC.encode(denied)),
    ]
    testbed.processor.opened(testbed.partition, recent)
    assert testbed.partition.unsettled == 1
    testbed.guard.write_marks()
    assert testbed.guard.locks == dict.fromkeys(["a", "b"], f"emitted:{testbed.token}")
    assert testbed.partition.unsettled == 0


def test_a_new_task_with_nothing_recent_is_settled_at_once(testbed: AfterCommitTestbed) -> None:
    testbed.processor.opened(testbed.partition, [])
    assert testbed.partition.unsettled == 0


def test_an_order_stated_anew_is_not_marked_again(testbed: AfterCommitTestbed) -> None:
    testbed.guard.locks["order-1"] = f"emitted:{token_of('mine', '3' * 32)}"
    [record] = testbed.committed(*completing())
    testbed.guard.write_marks()
    assert (record.topic, testbed.guard.counts["marks"]) == ("order_amended", 0)


# -- the cache --------------------------------------------------------------------------------------------------------


def test_order_rows_are_cached_as_the_turn_left_them(testbed: AfterCommitTestbed) -> None:
    testbed.committed(order_change(10, "a"), order_change(20, "a", customer_id=99), order_change(10, "b"))
    assert testbed.cache.puts == [{"a": CachedOrder(99, 3, 2), "b": CachedOrder(11, 3, 2)}]


def test_a_deleted_order_is_taken_out_of_the_cache(testbed: AfterCommitTestbed) -> None:
    testbed.committed(order_change(10, "a"), order_change(20, "a", deleted=True))
    assert testbed.cache.puts == [{"a": None}]


def test_lines_without_their_order_are_not_cached(testbed: AfterCommitTestbed) -> None:
    testbed.committed(detail_change(10, "a"))
    assert testbed.cache.puts == []


def test_a_duplicate_is_not_cached_again(testbed: AfterCommitTestbed) -> None:
    testbed.committed(order_change(10, "a"))
    testbed.committed(order_change(10, "a"))
    assert len(testbed.cache.puts) == 1


# -- held orders ------------------------------------------------------------------------------------------------------


def test_a_released_lock_makes_the_other_held_orders_ask_without_a_pause(testbed: AfterCommitTestbed) -> None:
    testbed.guard.locks |= {"a": "claimed:other:1", "b": "claimed:other:1"}
    testbed.committed(*completing("a"), *completing("b"))
    testbed.partition.now_ms = COMMITTED_MS + 30_000
    assert testbed.fire_timers(0.0) == ["a", "b"]
    assert testbed.fire_timers(1.0) == [], "they have been held for long enough to be asked for seldom"
    testbed.guard.locks["a"] = "released"
    assert testbed.fire_timers(LONGEST_PAUSE_S) == ["a", "b"]
    assert testbed.processor.counts["completed"] == 1
    assert testbed.fire_timers(LONGEST_PAUSE_S + 1) == ["b"]
    assert testbed.fire_timers(LONGEST_PAUSE_S + 2) == []


# -- counts and log lines ---------------------------------------------------------------------------------------------


def test_counts_tell_what_became_visible(testbed: AfterCommitTestbed) -> None:
    testbed.guard.locks["held"] = "claimed:other:1"
    testbed.published(*completing("never"))
    testbed.committed(*completing("a"), *completing("held"), order_change(10, "waits"))
    testbed.committed(detail_change(30, "a", quantity=2), *completing("b"))
    counts = testbed.processor.counts
    assert {name: counts[name] for name in ("completed", "amended", "overdue", "duplicates_prevented")} == {
        "completed": 2,
        "amended": 1,
        "overdue": 0,
        "duplicates_prevented": 1,
    }


def test_a_timer_that_reports_is_counted(testbed: AfterCommitTestbed) -> None:
    testbed.committed(order_change(10, "waits"))
    testbed.partition.now_ms = COMMITTED_MS + 60_000
    turn = Turn(testbed.stored.get, CODEC, testbed.processor.dead_letter)
    turn.fire(list(testbed.processor.due_timers(testbed.partition)))
    [record] = at_once(testbed.processor.publish(turn, testbed.partition))
    testbed.processor.committed(turn, testbed.partition)
    assert (record.topic, record.key, testbed.processor.counts["overdue"]) == ("order_incomplete", b"waits", 1)


def test_the_log_follows_an_order_by_its_id(testbed: AfterCommitTestbed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    testbed.committed(order_change(10, "a\nb", num_products=1))
    testbed.committed(detail_change(20, "a\nb"))
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "[ORDER_CACHED] order 'a\\nb'",
        "[PRODUCTS_INCOMPLETE] order 'a\\nb': 0 of 1 products",
        "[ORDER_TRIGGERED] order 'a\\nb'",
        "[ORDER_CACHED] order 'a\\nb'",
    ]


def test_a_log_that_nobody_wants_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    quiet = OrderLog(enabled=False)
    quiet.cached("a")
    quiet.triggered("a")
    quiet.duplicate_prevented("a", "held")
    quiet.products_incomplete("a", 0, 1)
    assert caplog.records == []
