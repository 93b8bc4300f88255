"""Goal: what the guard answers decides what a turn may publish, and nothing of a denied order gets out.

Method: turns of the real folds, cleared with a guard in memory whose locks a test sets beforehand.
"""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from agents.guard.claim_filter import ClaimFilter
from agents.guard.guard import WhenAway
from agents.guard.locks import token_of
from agents.order_log import OrderLog
from streams.model.order import Emission, OrderState, fold_order, fold_order_detail
from streams.model.order_life import ask_again
from streams.model.published import AmendedOrder, CompleteOrder
from streams.runtime.partition.batch import BatchOwner, OutputRecord, RecordBatch, SourceRecord
from streams.runtime.partition.turn import Turn
from streams.runtime.testing import Consumed
from tables.order_state import CODEC
from tests.support.builders import detail_change, order_change
from tests.unit.agents.deployment import at_once
from tests.unit.agents.fake_guard import FakeGuard

INCARNATION = "1" * 32
MINE = token_of("mine", INCARNATION)
OTHERS = token_of("others", "2" * 32)


def no_dead_letter(record: SourceRecord, reason: str) -> OutputRecord:
    raise AssertionError(reason)


class ClaimFilterTestbed:
    """Turns on a few states, cleared one after the other; each is as good as committed."""

    def __init__(self, *, when_away: WhenAway = WhenAway.WAIT) -> None:
        self.guard = FakeGuard(when_away=when_away)
        self.claim_filter = ClaimFilter(self.guard, "mine", OrderLog(enabled=True))
        self.stored: dict[bytes, bytes] = {}

    def turn(self, *changes: Any) -> Turn:
        """A turn of changes, each in a batch of its own; the record of the n-th has the Kafka time n."""
        turn = Turn(self.stored.get, CODEC, no_dead_letter)
        batches = []
        for number, change in enumerate(changes):
            batch = RecordBatch(
                "t", 0, number, [Consumed("t", 0, number, change.key, b"", number)], cast(BatchOwner, None)
            )
            batch.changes = [change]
            batches.append((batch, cast(Any, fold_order if hasattr(change.row, "num_products") else fold_order_detail)))
        turn.fold(batches)
        return self._clear(turn)

    def asked_again(self, order_id: str = "order-1") -> Turn:
        turn = Turn(self.stored.get, CODEC, no_dead_letter)
        turn.fire([(order_id.encode(), lambda state: ask_again(state, order_id))])
        return self._clear(turn)

    def _clear(self, turn: Turn) -> Turn:
        at_once(self.claim_filter.apply(turn, INCARNATION))
        self.stored |= {key: state for key, state in turn.encoded_states() if state is not None}
        return turn

    def state(self, order_id: str = "order-1") -> OrderState:
        return CODEC.decode(self.stored[order_id.encode()])


@pytest.fixture
def testbed() -> ClaimFilterTestbed:
    return ClaimFilterTestbed()


def completing(order_id: str = "order-1") -> list[Any]:
    """The changes that make an order of one product."""
    return [order_change(10, order_id, num_products=1), detail_change(20, order_id)]


def kinds(turn: Turn) -> list[tuple[type, str]]:
    return [(type(outcome), outcome.order_id) for outcome in turn.outcomes]


# -- each answer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", [None, "released", f"claimed:{MINE}"])
def test_a_free_a_released_and_an_own_lock_let_the_order_out(testbed: ClaimFilterTestbed, lock: str | None) -> None:
    testbed.guard.locks |= {} if lock is None else {"order-1": lock}
    assert kinds(testbed.turn(*completing())) == [(CompleteOrder, "order-1")]
    assert testbed.state().emission is Emission.EMITTED
    assert testbed.guard.locks["order-1"] == f"claimed:{MINE}"


def test_a_lock_that_another_one_holds_keeps_the_order_back_until_it_is_asked_for_again(
    testbed: ClaimFilterTestbed,
) -> None:
    testbed.guard.locks["order-1"] = f"claimed:{OTHERS}"
    assert kinds(testbed.turn(*completing())) == []
    assert (testbed.state().emission, testbed.state().denied) == (Emission.PENDING, True)
    testbed.guard.locks["order-1"] = "released"
    assert kinds(testbed.asked_again()) == [(CompleteOrder, "order-1")]


def test_what_another_application_has_emitted_is_its_affair(testbed: ClaimFilterTestbed) -> None:
    testbed.guard.locks["order-1"] = f"emitted:{OTHERS}"
    assert kinds(testbed.turn(*completing())) == []
    assert testbed.state().emission is Emission.ELSEWHERE
    turn = testbed.turn(detail_change(30, quantity=7))
    assert (kinds(turn), turn.counts["left"], len(testbed.guard.claimed)) == ([], 1, 1)


@pytest.mark.parametrize("incarnation", [INCARNATION, "3" * 32], ids=["this state", "a former one"])
def test_what_this_application_has_emitted_before_is_stated_anew(testbed: ClaimFilterTestbed, incarnation: str) -> None:
    testbed.guard.locks["order-1"] = f"emitted:{token_of('mine', incarnation)}"
    assert kinds(testbed.turn(*completing())) == [(AmendedOrder, "order-1")]
    assert (testbed.state().emission, testbed.state().revision) == (Emission.EMITTED, 1)
    assert kinds(testbed.turn(detail_change(30, quantity=7))) == [(AmendedOrder, "order-1")]
    assert testbed.state().revision == 2


def test_a_guard_that_is_away_and_is_to_be_done_without_lets_the_order_out() -> None:
    testbed = ClaimFilterTestbed(when_away=WhenAway.GO_ON)
    testbed.guard.go_away()
    assert kinds(testbed.turn(*completing())) == [(CompleteOrder, "order-1")]


def test_while_the_guard_is_away_no_order_goes_out_that_it_has_denied() -> None:
    testbed = ClaimFilterTestbed(when_away=WhenAway.GO_ON)
    testbed.guard.locks["order-1"] = f"claimed:{OTHERS}"
    testbed.turn(*completing())
    testbed.guard.go_away()
    assert kinds(testbed.asked_again()) == []


# -- turns ------------------------------------------------------------------------------------------------------------


def test_the_guard_is_asked_once_for_a_whole_turn_and_not_without_need(testbed: ClaimFilterTestbed) -> None:
    testbed.turn(*completing("a"), *completing("b"), order_change(10, "c"))
    testbed.turn(detail_change(20, "c"), detail_change(30, "a", quantity=2))
    [(claims, token)] = testbed.guard.claimed
    assert ([claim.order_id for claim in claims], token) == (["a", "b"], MINE)


@pytest.mark.parametrize("lock", [f"claimed:{OTHERS}", f"emitted:{OTHERS}"])
def test_amendments_of_a_refused_order_in_the_same_turn_are_refused_with_it(
    testbed: ClaimFilterTestbed, lock: str
) -> None:
    testbed.guard.locks["order-1"] = lock
    more = [detail_change(30, quantity=7), detail_change(40, product_id=102)]
    turn = testbed.turn(*completing(), *completing("b"), *more)
    assert kinds(turn) == [(CompleteOrder, "b")]
    assert testbed.state().revision == 0
    assert list(testbed.state().lines) == [101, 102], "the changes themselves are kept"


def test_amendments_of_an_order_that_is_stated_anew_are_one_with_the_statement(testbed: ClaimFilterTestbed) -> None:
    testbed.guard.locks["order-1"] = f"emitted:{token_of('mine', '3' * 32)}"
    turn = testbed.turn(*completing(), detail_change(30, quantity=7), detail_change(40, product_id=102))
    [amended] = turn.outcomes
    assert isinstance(amended, AmendedOrder)
    assert [(product.product_id, product.quantity) for product in amended.products] == [(101, 7), (102, 1)]
    assert (amended.revision, testbed.state().revision) == (1, 1)


def test_every_outcome_keeps_the_time_of_its_record(testbed: ClaimFilterTestbed) -> None:
    testbed.guard.locks |= {"b": f"claimed:{OTHERS}", "c": f"emitted:{token_of('mine', '3' * 32)}"}
    turn = testbed.turn(*completing("a"), *completing("b"), *completing("c"), *completing("d"))
    assert [outcome.order_id for outcome in turn.outcomes] == ["a", "c", "d"]
    assert turn.caused_at_ms == [1, 5, 7]


def test_a_callback_has_no_record_and_so_no_time(testbed: ClaimFilterTestbed) -> None:
    testbed.guard.locks["order-1"] = f"claimed:{OTHERS}"
    testbed.turn(*completing())
    testbed.guard.locks["order-1"] = "released"
    assert testbed.asked_again().caused_at_ms == []


# -- asking again -----------------------------------------------------------------------------------------------------


def test_after_a_denial_a_lock_that_is_gone_is_no_permission(testbed: ClaimFilterTestbed) -> None:
    testbed.guard.locks["order-1"] = f"claimed:{OTHERS}"
    testbed.turn(*completing())
    del testbed.guard.locks["order-1"]
    assert kinds(testbed.asked_again()) == []
    assert [claim.was_denied for claims, _ in testbed.guard.claimed for claim in claims] == [False, True]


def test_a_callback_that_is_denied_again_writes_nothing(testbed: ClaimFilterTestbed) -> None:
    testbed.guard.locks["order-1"] = f"claimed:{OTHERS}"
    testbed.turn(*completing())
    assert testbed.asked_again().encoded_states() == []


def test_a_change_that_is_denied_again_is_written(testbed: ClaimFilterTestbed) -> None:
    testbed.guard.locks["order-1"] = f"claimed:{OTHERS}"
    testbed.turn(*completing())
    assert len(testbed.turn(detail_change(30, quantity=7)).encoded_states()) == 1
    assert testbed.state().lines[101].quantity == 7


def test_a_callback_that_learns_that_another_one_has_emitted_is_written(testbed: ClaimFilterTestbed) -> None:
    testbed.guard.locks["order-1"] = f"claimed:{OTHERS}"
    testbed.turn(*completing())
    testbed.guard.locks["order-1"] = f"emitted:{OTHERS}"
    assert len(testbed.asked_again().encoded_states()) == 1
    assert testbed.state().emission is Emission.ELSEWHERE


# -- counts -----------------------------------------------------------------------------------------------------------


def test_a_refused_order_counts_once_however_often_it_is_asked_for(
    testbed: ClaimFilterTestbed, caplog: pytest.LogCaptureFixture
) -> None:
    testbed.guard.locks |= {"order-1": f"claimed:{OTHERS}", "b": f"emitted:{OTHERS}"}
    with caplog.at_level(logging.INFO):
        testbed.turn(*completing(), *completing("b"), *completing("c"))
        testbed.asked_again()
        testbed.turn(detail_change(30, quantity=7))
    assert testbed.claim_filter.counts == {"duplicates_prevented": 2}
    assert [record.getMessage() for record in caplog.records] == [
        "[DUPLICATE_PREVENTED] order 'order-1': held",
        "[DUPLICATE_PREVENTED] order 'b': emitted_elsewhere",
    ]
