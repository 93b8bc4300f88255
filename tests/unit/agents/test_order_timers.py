"""Goal: the timer of each due order fires, none twice in a turn, and no turn grows with what is not due.

Method: states made by the real folds in a partition in memory; turns of at most three callbacks of a kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agents import order_timers as module
from agents.held_orders import LONGEST_PAUSE_S
from agents.order_timers import OrderTimers
from streams.model.fold import STATE_ONLY, UNCHANGED
from streams.model.order import OrderState, fold_order, fold_order_detail, is_forgotten
from streams.model.order_life import deny
from streams.model.published import CompleteOrder, IncompleteOrder
from streams.runtime.testing import MemoryPartition
from tables.order_state import FORGETTING_CODEC as CODEC
from tests.support.builders import COMMITTED_MS, detail_change, order_change

AFTER_S, RETENTION_S = 60.0, 600.0
AFTER_MS, RETENTION_MS = 60_000, 600_000


class TimersTestbed:
    """A partition with orders, and the timers that find them."""

    def __init__(self, *, incomplete_after_s: float = AFTER_S, retention_s: float = RETENTION_S) -> None:
        self.states: dict[bytes, bytes] = {}
        self.partition = MemoryPartition(0, self.states, CODEC)
        self.partition.now_ms = COMMITTED_MS
        self.now_s = 0.0
        self.timers = OrderTimers(
            incomplete_after_s=incomplete_after_s, retention_s=retention_s, clock=lambda: self.now_s
        )

    def keep(self, order_id: str, state: OrderState) -> None:
        self.states[order_id.encode()] = CODEC.encode(state)

    def turn(self, after_ms: int = 0) -> list[tuple[str, Any]]:
        """Ids of the due orders and the outcomes of their callbacks; every change is kept. Every pause is over."""
        self.now_s += LONGEST_PAUSE_S
        self.partition.now_ms = COMMITTED_MS + after_ms
        found = []
        timers = list(self.timers.due_timers(self.partition))
        for key, callback in timers:
            state = CODEC.decode(self.states[key])
            found.append((key.decode(), callback(state)))
            self.states[key] = CODEC.encode(state)
        return found

    @property
    def forgotten(self) -> list[str]:
        """Ids of the orders of which only stubs are left."""
        return sorted(key.decode() for key, state in self.states.items() if is_forgotten(CODEC.decode(state)))


def lines_only(order_id: str, **columns: Any) -> OrderState:
    state = OrderState()
    fold_order_detail(state, detail_change(10, order_id, **columns))
    return state


def waiting(order_id: str, **columns: Any) -> OrderState:
    state = OrderState()
    fold_order(state, order_change(10, order_id, **columns))
    return state


def finished(order_id: str, **columns: Any) -> OrderState:
    state = waiting(order_id, num_products=1, **columns)
    fold_order_detail(state, detail_change(20, order_id, **columns))
    return state


def held(order_id: str, **columns: Any) -> OrderState:
    state = finished(order_id, **columns)
    deny(state, emitted_elsewhere=False)
    return state


def ids(due: list[tuple[str, Any]]) -> list[str]:
    return [order_id for order_id, _ in due]


@pytest.fixture
def testbed(monkeypatch: pytest.MonkeyPatch) -> TimersTestbed:
    monkeypatch.setattr(module, "MOST_CALLBACKS", 3)
    return TimersTestbed()


def test_young_and_finished_orders_are_not_due(testbed: TimersTestbed) -> None:
    for order_id, state in {"a": lines_only("a"), "b": waiting("b"), "c": finished("c")}.items():
        testbed.keep(order_id, state)
    assert testbed.turn(AFTER_MS - 1) == []


@pytest.mark.parametrize("make", [lines_only, waiting])
def test_an_overdue_order_is_reported_once(testbed: TimersTestbed, make: Callable[[str], OrderState]) -> None:
    testbed.keep("a", make("a"))
    [(order_id, outcome)] = testbed.turn(AFTER_MS)
    assert (order_id, type(outcome)) == ("a", IncompleteOrder)
    assert testbed.turn(AFTER_MS) == []


def test_overdue_orders_are_reported_oldest_first_and_a_few_at_a_time(testbed: TimersTestbed) -> None:
    for number in range(7):
        testbed.keep(f"w{number}", waiting(f"w{number}", at_ms=COMMITTED_MS - number))
    reported = [ids(testbed.turn(AFTER_MS)) for _ in range(4)]
    assert reported == [["w6", "w5", "w4"], ["w3", "w2", "w1"], ["w0"], []]


def test_an_order_without_a_time_is_never_overdue_and_holds_up_none_that_has_one(testbed: TimersTestbed) -> None:
    for number in range(5):
        testbed.keep(f"w{number}", waiting(f"w{number}", at_ms=0))
    testbed.keep("timed", waiting("timed"))
    assert ids(testbed.turn(AFTER_MS)) == ["timed"]


def test_nothing_is_overdue_before_the_source_has_told_the_time(testbed: TimersTestbed) -> None:
    testbed.keep("a", waiting("a"))
    assert testbed.turn(-COMMITTED_MS) == []


def test_a_held_order_that_is_overdue_is_reported_first_and_asked_for_afterwards(testbed: TimersTestbed) -> None:
    testbed.keep("a", held("a"))
    answers = [type(outcome) for _ in range(3) for _, outcome in testbed.turn(AFTER_MS)]
    assert answers[:2] == [IncompleteOrder, CompleteOrder]
    assert IncompleteOrder not in answers[1:]


def test_a_new_task_begins_its_partition_anew_and_no_other(testbed: TimersTestbed) -> None:
    other = MemoryPartition(1, testbed.states, CODEC)
    for number in range(5):
        testbed.keep(f"h{number}", held(f"h{number}"))
    first = [[key for key, _ in testbed.timers.due_timers(place)] for place in (testbed.partition, other)]
    testbed.timers.begin(testbed.partition)
    second = [[key for key, _ in testbed.timers.due_timers(place)] for place in (testbed.partition, other)]
    assert second[0] == first[0]
    assert second[1] == [b"h3", b"h4"]


def test_a_finished_order_is_forgotten_once_nothing_has_changed_it_for_the_retention(testbed: TimersTestbed) -> None:
    state = finished("a")
    fold_order(state, order_change(30, "a", num_products=1, customer_id=99, at_ms=COMMITTED_MS + 5_000))
    testbed.keep("a", state)
    assert [outcome is UNCHANGED for _, outcome in testbed.turn(RETENTION_MS)] == [True]
    assert [outcome is STATE_ONLY for _, outcome in testbed.turn(RETENTION_MS + 5_000)] == [True]
    assert testbed.forgotten == ["a"]
    assert testbed.turn(9 * RETENTION_MS) == [], "a stub has no timer"


def test_finished_orders_that_keep_changing_do_not_hide_those_that_do_not(testbed: TimersTestbed) -> None:
    for number in range(7):
        state = finished(f"f{number}", at_ms=COMMITTED_MS + number)
        if number < 5:
            fold_order(state, order_change(30, f"f{number}", customer_id=99, at_ms=COMMITTED_MS + RETENTION_MS))
        testbed.keep(f"f{number}", state)
    for _ in range(3):
        testbed.turn(RETENTION_MS + 100)
    assert testbed.forgotten == ["f5", "f6"]


@pytest.mark.parametrize(("incomplete_after_s", "retention_s"), [(0, RETENTION_S), (AFTER_S, 0), (0, 0)])
def test_zero_switches_off(incomplete_after_s: float, retention_s: float) -> None:
    testbed = TimersTestbed(incomplete_after_s=incomplete_after_s, retention_s=retention_s)
    testbed.keep("waits", waiting("waits"))
    testbed.keep("finished", finished("finished"))
    testbed.keep("held", held("held"))
    expected = ["held", *(["waits"] if incomplete_after_s else []), *(["finished"] if retention_s else [])]
    assert sorted(ids(testbed.turn(10 * RETENTION_MS))) == sorted(expected)
