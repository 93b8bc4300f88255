"""Goal: forgetting a finished order at any moment never publishes it again, and never makes it look incomplete.

Method: random histories and deliveries as in `test_order_properties.py`, with forgetting mixed in at random: replays,
snapshots and late duplicates then arrive for orders of which only a stub is left, or nothing.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import example, given

from streams.model.fold import AFTER_RETENTION, FORGOTTEN, STATE_ONLY, UNCHANGED, Rejected
from streams.model.order import Emission, OrderState, fold_order, fold_order_detail, is_forgotten
from streams.model.order_life import Standing, deny, forget_finished, standing_of, timer_of
from streams.model.published import CompleteOrder
from tests.support.builders import COMMITTED_MS, detail_change, order_change
from tests.unit.model.delivery import Delivery
from tests.unit.model.dict_shop import DETAILS, ORDERS, TOPICS, Shop
from tests.unit.model.order_oracle import check_order
from tests.unit.model.strategies import Step, histories, order_ids, play, read, rewind, scripts, shop_after, step, stops

LARGEST_STUB_BYTES = 14
AT_ANY_TIME = 2 * COMMITTED_MS


class ForgetfulDelivery(Delivery):
    """A consumer that also forgets orders.

    Attributes:
        forgotten: orders that have ever been forgotten, with or without a stub.
    """

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop)
        self.forgotten: set[bytes] = set()

    def forget(self, order_id: str) -> None:
        """Forget an order if it is finished, as if its retention time had ended just now."""
        key = order_id.encode()
        state = self.states.setdefault(key, OrderState())
        outcome = forget_finished(state, AT_ANY_TIME, 0)
        if outcome is FORGOTTEN:
            del self.states[key]
        if outcome is not UNCHANGED:
            self.forgotten.add(key)


forget = step("forget", order_ids)
deliveries = scripts({read: 4, rewind: 2, forget: 3, stops: 1}, longest=30)


def delivered(history: list[Step], delivery: list[Step]) -> ForgetfulDelivery:
    """The consumer after this delivery, and after all topics were read twice more."""
    shop = shop_after(history)
    consumer = ForgetfulDelivery(shop)
    play(consumer, delivery)
    consumer.read_all()
    for first in (DETAILS, ORDERS):
        for topic in TOPICS:
            consumer.rewind(topic, len(shop.topics[topic]))
        consumer.read_all(first=first)
    return consumer


@given(history=histories, delivery=deliveries)
@example(
    history=[("put_order", "A", 1, 1), ("put_lines", "A", {1: 1}), ("snapshot",)],
    delivery=[("read", ORDERS, 1), ("read", DETAILS, 1), ("forget", "A")],
)
def test_an_order_is_published_once_whenever_orders_are_forgotten(history: list[Step], delivery: list[Step]) -> None:
    consumer = delivered(history, delivery)
    finals = Counter(output.order_id for output in consumer.outputs if isinstance(output, CompleteOrder))
    assert set(finals.values()) <= {1}


@given(history=histories, delivery=deliveries)
def test_orders_that_were_never_forgotten_agree_with_the_database(history: list[Step], delivery: list[Step]) -> None:
    shop, consumer = shop_after(history), delivered(history, delivery)
    for order_id in shop.orders.keys() - {key.decode() for key in consumer.forgotten}:
        check_order(shop, order_id, [output for output in consumer.outputs if output.order_id == order_id])


@given(history=histories, delivery=deliveries)
def test_a_published_order_is_finished_for_ever(history: list[Step], delivery: list[Step]) -> None:
    consumer = delivered(history, delivery)
    for order_id in {output.order_id for output in consumer.outputs}:
        assert standing_of(consumer.states[order_id.encode()]) is Standing.FINISHED


# -- the stub ---------------------------------------------------------------------------------------------------------


def published(*, amendments: int = 0) -> OrderState:
    """A published order of one product line."""
    state = OrderState()
    fold_order(state, order_change(10, num_products=1))
    fold_order_detail(state, detail_change(20))
    for number in range(amendments):
        fold_order_detail(state, detail_change(30 + number, quantity=2 + number))
    return state


def stub(*, amendments: int = 0) -> OrderState:
    state = published(amendments=amendments)
    assert forget_finished(state, AT_ANY_TIME, 0) is STATE_ONLY
    return state


def test_a_stub_keeps_the_emission_and_the_revision_in_a_few_bytes() -> None:
    state = stub(amendments=70_000)
    assert is_forgotten(state)
    assert (state.emission, state.revision, state.row, state.lines) == (Emission.EMITTED, 70_000, None, {})
    assert len(msgspec.msgpack.encode(state)) <= LARGEST_STUB_BYTES


def test_a_stub_has_no_timer_and_is_not_forgotten_again() -> None:
    state = stub()
    assert timer_of(published()) == (Standing.FINISHED, COMMITTED_MS)
    assert timer_of(state) is None
    assert forget_finished(state, AT_ANY_TIME, 0) is UNCHANGED


@pytest.mark.parametrize("pos", [5, 10, 9_000], ids=["older", "duplicate", "newer"])
@pytest.mark.parametrize("deleted", [False, True])
def test_no_change_of_a_forgotten_order_alters_its_stub(pos: int, deleted: bool) -> None:
    state, before = stub(amendments=1), msgspec.msgpack.encode(stub(amendments=1))
    assert fold_order(state, order_change(pos, num_products=1, customer_id=99, deleted=deleted)) is AFTER_RETENTION
    for product_id in (101, 102):
        change = detail_change(pos, product_id=product_id, quantity=9, deleted=deleted)
        assert fold_order_detail(state, change) is AFTER_RETENTION
    assert msgspec.msgpack.encode(state) == before


def test_an_order_that_another_deployment_published_leaves_a_stub_too() -> None:
    state = published()
    deny(state, emitted_elsewhere=True)
    assert forget_finished(state, AT_ANY_TIME, 0) is STATE_ONLY
    assert state.emission is Emission.ELSEWHERE
    assert fold_order_detail(state, detail_change(30)) is AFTER_RETENTION


# -- orders that were never published ---------------------------------------------------------------------------------


def test_an_order_that_was_deleted_before_it_was_complete_leaves_nothing_and_its_id_can_be_used_again() -> None:
    state = OrderState()
    fold_order(state, order_change(10, num_products=2))
    fold_order(state, order_change(20, num_products=2, deleted=True))
    assert forget_finished(state, AT_ANY_TIME, 0) is FORGOTTEN
    state = OrderState()
    fold_order(state, order_change(30, num_products=1))
    assert isinstance(fold_order_detail(state, detail_change(40)), CompleteOrder)


def test_a_deleted_order_is_kept_while_the_database_still_has_lines_of_it() -> None:
    state = OrderState()
    fold_order(state, order_change(10, num_products=2))
    fold_order_detail(state, detail_change(20))
    fold_order(state, order_change(30, num_products=2, deleted=True))
    assert forget_finished(state, AT_ANY_TIME, 0) is UNCHANGED
    assert timer_of(state) is None
    fold_order_detail(state, detail_change(40, quantity=2))
    assert standing_of(state) is Standing.FINISHED, "a line without its order is known to belong to a deleted one"
    fold_order_detail(state, detail_change(50, deleted=True))
    assert forget_finished(state, AT_ANY_TIME, 0) is FORGOTTEN


def test_a_bad_row_of_a_new_order_is_still_rejected() -> None:
    with pytest.raises(Rejected):
        fold_order(OrderState(), order_change(10, num_products=0))
