"""What becomes of an order beside its changes: where it stands, what a denial undoes, what is reported and forgotten.

Method: states made by the real folds, by hand and from random histories.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.model.change import LATEST_MS
from streams.model.fold import OWNED_ELSEWHERE, STATE_ONLY, UNCHANGED, NoOutput
from streams.model.order import Emission, OrderState, fold_order, fold_order_detail, is_forgotten
from streams.model.order_life import (
    INCOMPLETE_KINDS,
    REPORTED,
    Standing,
    ask_again,
    deny,
    forget_finished,
    reason_of_kind,
    report_overdue,
    restate,
    standing_of,
    timer_of,
    unfinished_timer_of,
)
from streams.model.published import AmendedOrder, CompleteOrder, IncompleteOrder, IncompleteReason, SourcePosition
from tests.support.builders import COMMITTED_MS, detail_change, order_change
from tests.unit.model.delivery import FOLDS
from tests.unit.model.dict_shop import TOPICS
from tests.unit.model.strategies import Step, histories, shop_after

AFTER_MS = 60_000


def state_of(*changes: Any) -> OrderState:
    """The state after changes of `order-1`."""
    state = OrderState()
    for change in changes:
        (fold_order if hasattr(change.row, "num_products") else fold_order_detail)(state, change)
    return state


def emitted() -> tuple[OrderState, CompleteOrder]:
    """An order of one product, and the record that its fold has just answered."""
    state = state_of(order_change(10, num_products=1))
    outcome = fold_order_detail(state, detail_change(20))
    assert isinstance(outcome, CompleteOrder)
    return state, outcome


def held() -> OrderState:
    state, _ = emitted()
    deny(state, emitted_elsewhere=False)
    return state


# -- where an order stands --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "standing"),
    [
        (state_of(detail_change(10)), Standing.NO_ORDER_ROW),
        (state_of(order_change(10)), Standing.PRODUCTS_MISSING),
        (held(), Standing.HELD),
        (emitted()[0], Standing.FINISHED),
        (state_of(order_change(10), order_change(20, deleted=True)), Standing.FINISHED),
        (state_of(detail_change(10), detail_change(20, deleted=True)), Standing.FINISHED),
        (state_of(detail_change(20, deleted=True)), Standing.FINISHED),
        (OrderState(), Standing.FINISHED),
    ],
    ids=["lines only", "row only", "denied", "emitted", "deleted", "all lines deleted", "line unseen", "nothing"],
)
def test_an_order_stands_by_what_is_missing_for_its_emission(state: OrderState, standing: Standing) -> None:
    assert standing_of(state) is standing
    entry = timer_of(state)
    assert entry is None or entry[0] == standing
    assert (unfinished_timer_of(state) is None) == (standing is Standing.FINISHED)


def test_a_refused_order_that_was_emitted_elsewhere_is_finished() -> None:
    state, _ = emitted()
    deny(state, emitted_elsewhere=True)
    assert standing_of(state) is Standing.FINISHED


def test_a_reported_order_stands_beside_those_that_are_not() -> None:
    state = state_of(order_change(10))
    state.reported = True
    assert timer_of(state) == (Standing.PRODUCTS_MISSING + REPORTED, COMMITTED_MS)


def test_kinds_do_not_collide_and_each_has_its_reason() -> None:
    assert len(set(INCOMPLETE_KINDS)) == 6
    assert Standing.FINISHED not in INCOMPLETE_KINDS
    assert [reason_of_kind(kind) for kind in INCOMPLETE_KINDS] == [
        reason for reason in IncompleteReason for _ in range(2)
    ]


# -- at random --------------------------------------------------------------------------------------------------------

callbacks = st.sampled_from(["deny", "elsewhere", "ask", "report", "forget"])
plans = st.lists(st.tuples(st.sampled_from(TOPICS), st.integers(1, 3), st.none() | callbacks), max_size=25)


def called_back(state: OrderState, callback: str) -> Any:
    """The outcome of a callback; a denial only follows an emission."""
    now_ms = COMMITTED_MS + 2 * AFTER_MS
    if callback in ("deny", "elsewhere"):
        if state.emission is Emission.EMITTED and state.revision == 0:
            deny(state, emitted_elsewhere=callback == "elsewhere")
        return None
    if callback == "ask":
        return ask_again(state, "A")
    if callback == "report":
        return report_overdue(state, "A", now_ms, AFTER_MS)
    return forget_finished(state, now_ms, AFTER_MS)


@given(history=histories, plan=plans, waits=st.lists(st.integers(0, 5_000), min_size=30, max_size=30))
def test_the_time_of_a_timer_never_changes_and_no_answer_contradicts_the_state(
    history: list[Step], plan: list[tuple[str, int, str | None]], waits: list[int]
) -> None:
    shop = shop_after([step for pair in zip(history, waits, strict=False) for step in (pair[0], ("wait", pair[1]))])
    offsets, state, reports = dict.fromkeys(TOPICS, 0), OrderState(), 0
    for topic, count, callback in plan:
        for change in shop.topics[topic][offsets[topic] : offsets[topic] + count]:
            before = state.first_seen_ms
            if change.key == b"A":
                FOLDS[topic](state, change)
            assert before in (0, state.first_seen_ms)
            assert state.changed_ms >= state.first_seen_ms
        offsets[topic] += count
        if callback is not None:
            before, encoded = state.first_seen_ms, msgspec.msgpack.encode(state)
            outcome = called_back(state, callback)
            reports += isinstance(outcome, IncompleteOrder)
            if is_forgotten(state):
                break
            assert state.first_seen_ms == before
            assert (timer_of(state) or (0, before))[1] == before
            if isinstance(outcome, NoOutput):
                assert msgspec.msgpack.encode(state) == encoded, "a callback without output alters nothing"
    assert reports <= 1


# -- the lock guard ---------------------------------------------------------------------------------------------------


def test_a_refusal_undoes_the_emission_and_the_revisions_that_followed_it_in_the_turn() -> None:
    state, _ = emitted()
    fold_order_detail(state, detail_change(30, quantity=5))
    deny(state, emitted_elsewhere=False)
    assert (state.emission, state.revision, state.denied) == (Emission.PENDING, 0, True)


def test_a_held_order_that_is_asked_for_again_goes_out_as_it_is_now() -> None:
    state = held()
    assert fold_order(state, order_change(30, num_products=3)) is not None
    assert ask_again(state, "order-1") is UNCHANGED, "it is not complete any more"
    fold_order(state, order_change(40, num_products=1, customer_id=99))
    deny(state, emitted_elsewhere=False)
    outcome = ask_again(state, "order-1")
    assert isinstance(outcome, CompleteOrder)
    assert (outcome.customer_id, state.emission, state.denied) == (99, Emission.EMITTED, True)


def test_a_change_of_a_held_order_asks_too() -> None:
    assert isinstance(fold_order(held(), order_change(30, num_products=1, customer_id=99)), CompleteOrder)


def test_an_order_that_went_out_is_not_asked_for_again() -> None:
    state, _ = emitted()
    assert ask_again(state, "order-1") is UNCHANGED
    deny(state, emitted_elsewhere=True)
    assert ask_again(state, "order-1") is UNCHANGED


def test_changes_of_an_order_that_went_out_elsewhere_are_kept_and_left_to_the_other() -> None:
    state, _ = emitted()
    deny(state, emitted_elsewhere=True)
    assert fold_order(state, order_change(30, num_products=1, customer_id=99)) is OWNED_ELSEWHERE
    assert state.row is not None
    assert (state.row.customer_id, state.revision) == (99, 0)
    assert fold_order(state, order_change(30, num_products=1, customer_id=99)) is UNCHANGED


def test_an_order_that_a_former_state_emitted_is_stated_anew_as_its_first_revision() -> None:
    state, complete = emitted()
    fold_order_detail(state, detail_change(30, quantity=5))
    amended = restate(state, complete)
    assert isinstance(amended, AmendedOrder)
    assert (amended.revision, amended.products[0].quantity, state.revision) == (1, 5, 1)
    assert amended.source == SourcePosition(0, 3, 20, 0)
    assert state.emission is Emission.EMITTED
    following = fold_order_detail(state, detail_change(40, quantity=6))
    assert isinstance(following, AmendedOrder)
    assert following.revision == 2


# -- time -------------------------------------------------------------------------------------------------------------


def utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def test_an_incomplete_order_is_reported_once_and_not_before_its_time() -> None:
    state = state_of(order_change(10, num_products=2), detail_change(20, at_ms=COMMITTED_MS + 50_000))
    too_early, due = COMMITTED_MS + AFTER_MS - 1, COMMITTED_MS + AFTER_MS
    assert report_overdue(state, "order-1", too_early, AFTER_MS) is UNCHANGED
    assert report_overdue(state, "order-1", due, AFTER_MS) == IncompleteOrder(
        "order-1", IncompleteReason.PRODUCTS_MISSING, 2, 1, utc(COMMITTED_MS), utc(due)
    )
    assert report_overdue(state, "order-1", due, AFTER_MS) is UNCHANGED


@pytest.mark.parametrize(
    ("state", "reason", "num_products"),
    [
        (state_of(detail_change(10)), IncompleteReason.NO_ORDER_ROW, None),
        (state_of(order_change(10)), IncompleteReason.PRODUCTS_MISSING, 2),
        (held(), IncompleteReason.HELD, 1),
    ],
)
def test_a_report_says_why(state: OrderState, reason: IncompleteReason, num_products: int | None) -> None:
    outcome = report_overdue(deepcopy(state), "order-1", COMMITTED_MS + AFTER_MS, AFTER_MS)
    assert isinstance(outcome, IncompleteOrder)
    assert (outcome.reason, outcome.num_products) == (reason, num_products)


def test_an_order_whose_source_tells_no_time_is_never_overdue() -> None:
    assert report_overdue(state_of(order_change(10, at_ms=0)), "order-1", COMMITTED_MS, AFTER_MS) is UNCHANGED


def test_a_source_that_is_at_the_end_of_all_time_ends_no_worker() -> None:
    state = state_of(order_change(10), detail_change(20, at_ms=LATEST_MS))
    outcome = report_overdue(state, "order-1", LATEST_MS + 60_000, AFTER_MS)
    assert isinstance(outcome, IncompleteOrder)
    assert outcome.reported_at.year == 9999


def test_a_finished_order_is_not_reported() -> None:
    assert report_overdue(emitted()[0], "order-1", COMMITTED_MS + AFTER_MS, AFTER_MS) is UNCHANGED


def test_a_reported_order_is_completed_like_any_other() -> None:
    state = state_of(order_change(10, num_products=1))
    report_overdue(state, "order-1", COMMITTED_MS + AFTER_MS, AFTER_MS)
    assert isinstance(fold_order_detail(state, detail_change(20)), CompleteOrder)


def test_a_finished_order_is_forgotten_when_its_last_change_is_old_enough() -> None:
    state, _ = emitted()
    fold_order(state, order_change(30, num_products=1, customer_id=99, at_ms=COMMITTED_MS + 5_000))
    due = COMMITTED_MS + 5_000 + AFTER_MS
    assert forget_finished(state, due - 1, AFTER_MS) is UNCHANGED
    assert forget_finished(state, due, AFTER_MS) is STATE_ONLY
    assert is_forgotten(state)


@pytest.mark.parametrize("state", [held(), state_of(order_change(10)), state_of(detail_change(10))])
def test_an_unfinished_order_is_never_forgotten(state: OrderState) -> None:
    assert forget_finished(state, COMMITTED_MS * 2, AFTER_MS) is UNCHANGED


def test_the_newest_time_counts_whatever_the_order_of_changes() -> None:
    state = state_of(order_change(10, at_ms=9_000), detail_change(20, at_ms=4_000))
    assert (state.first_seen_ms, state.changed_ms) == (9_000, 9_000)


def test_a_duplicate_tells_no_time() -> None:
    state = state_of(order_change(10, at_ms=9_000), order_change(10, at_ms=99_000))
    assert state.changed_ms == 9_000
