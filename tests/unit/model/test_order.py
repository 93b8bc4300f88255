"""The rules of an order, one by one: when it is complete, what amends it, what is refused.

Method: an `OrderLife` folds a few changes by hand and keeps what the folds answered. Histories at random are the matter
of `test_order_properties.py`.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from streams.model.change import Change
from streams.model.fold import STATE_ONLY, UNCHANGED, Rejected
from streams.model.order import (
    Emission,
    OrderState,
    Outcome,
    as_utc,
    fold_order,
    fold_order_detail,
    status_of,
)
from streams.model.published import AmendedOrder, CompleteOrder, OrderStatus, PaymentMethod, Product, SourcePosition
from tests.support.builders import ORDERED_AT, detail_change, order_change, position, read_at


class OrderLife:
    """One order's state, with short names for its changes."""

    def __init__(self) -> None:
        self.state = OrderState()

    def order(self, at: Any, **columns: Any) -> Outcome:
        return self.fold(fold_order, order_change(at, **columns))

    def line(self, at: Any, product_id: int = 101, **columns: Any) -> Outcome:
        return self.fold(fold_order_detail, detail_change(at, product_id=product_id, **columns))

    def fold(self, fold: Any, change: Change[Any]) -> Outcome:
        outcome: Outcome = fold(self.state, change)
        return outcome


@pytest.fixture
def life() -> OrderLife:
    return OrderLife()


@pytest.fixture
def emitted() -> OrderLife:
    """The life of an order of two products after its emission at position 30."""
    life = OrderLife()
    life.order(10, num_products=2)
    life.line(20, 101)
    assert isinstance(life.line(30, 102), CompleteOrder)
    return life


def amended(outcome: Outcome) -> AmendedOrder:
    assert isinstance(outcome, AmendedOrder), outcome
    return outcome


def completed(outcome: Outcome) -> CompleteOrder:
    assert isinstance(outcome, CompleteOrder), outcome
    return outcome


# -- completion -------------------------------------------------------------------------------------------------------


def test_an_order_is_complete_with_its_last_product(life: OrderLife) -> None:
    assert life.order(10, num_products=2) is STATE_ONLY
    assert life.line(20, 102, quantity=4) is STATE_ONLY
    assert life.line(30, 101, quantity=5) == CompleteOrder(
        "order-1",
        11,
        22,
        PaymentMethod(3),
        2,
        [Product(101, 5), Product(102, 4)],
        ORDERED_AT,
        SourcePosition(0, 3, 30, 0),
    )
    assert life.state.emission is Emission.EMITTED


def test_details_that_arrive_before_their_order_still_complete_it(life: OrderLife) -> None:
    assert life.line(20, 101) is STATE_ONLY
    assert life.line(30, 102) is STATE_ONLY
    assert completed(life.order(10, num_products=2)).products == [Product(101, 1), Product(102, 1)]


def test_the_record_is_the_same_whichever_topic_is_read_first() -> None:
    rows_first, details_first = OrderLife(), OrderLife()
    rows_first.order(10, num_products=1)
    details_first.line(20)
    assert rows_first.line(20) == details_first.order(10, num_products=1)


def test_the_source_of_a_complete_order_is_the_newest_change_of_what_it_holds(life: OrderLife) -> None:
    life.line(90, 101)
    life.line(95, 102, deleted=True)
    assert completed(life.order(10, num_products=1)).source == SourcePosition(0, 3, 90, 0)


def test_more_products_than_expected_complete_an_order_too(life: OrderLife) -> None:
    life.line(20, 101)
    life.line(30, 102)
    assert len(completed(life.order(40, num_products=1)).products) == 2


def test_one_product_counts_once_however_often_it_changes(life: OrderLife) -> None:
    life.order(10, num_products=2)
    assert life.line(20, quantity=1) is STATE_ONLY
    assert life.line(30, quantity=2) is STATE_ONLY
    assert status_of(life.state) is OrderStatus.INCOMPLETE


def test_details_alone_are_never_an_order(life: OrderLife) -> None:
    life.line(20)
    assert (status_of(life.state), life.state.emission) == (OrderStatus.INCOMPLETE, Emission.PENDING)


def test_an_order_without_payment_method_is_complete_without_one(life: OrderLife) -> None:
    life.line(20)
    assert completed(life.order(10, num_products=1, payment_method_id=None)).payment_method is None


def test_lowering_the_number_of_products_completes_a_waiting_order(life: OrderLife) -> None:
    life.order(10, num_products=3)
    life.line(20)
    assert completed(life.order(30, num_products=1)).num_products == 1


def test_raising_the_number_of_products_makes_an_order_wait_for_more(life: OrderLife) -> None:
    life.order(10, num_products=2)
    assert life.order(20, num_products=3) is STATE_ONLY
    life.line(30, 101)
    assert life.line(40, 102) is STATE_ONLY
    assert completed(life.line(50, 103)).num_products == 3


def test_a_deleted_line_does_not_count(life: OrderLife) -> None:
    life.order(10, num_products=2)
    life.line(20, 101)
    life.line(30, 101, deleted=True)
    assert life.line(40, 102) is STATE_ONLY
    assert [product.product_id for product in completed(life.line(50, 103)).products] == [102, 103]


def test_a_deleted_order_is_not_completed_by_its_products(life: OrderLife) -> None:
    life.order(10, num_products=1)
    assert life.order(20, num_products=1, deleted=True) is STATE_ONLY
    assert life.line(30) is STATE_ONLY
    assert status_of(life.state) is OrderStatus.DELETED


def test_an_order_that_is_created_again_is_completed(life: OrderLife) -> None:
    life.order(10, num_products=1)
    life.order(20, num_products=1, deleted=True)
    life.line(30)
    assert completed(life.order(40, num_products=1, customer_id=99)).customer_id == 99


def test_a_deleted_line_that_is_created_again_counts(life: OrderLife) -> None:
    life.order(10, num_products=1)
    life.line(20, deleted=True)
    assert completed(life.line(30, quantity=8)).products == [Product(101, 8)]


# -- amendments -------------------------------------------------------------------------------------------------------


def test_an_update_after_emission_is_an_amendment_with_the_whole_order(emitted: OrderLife) -> None:
    assert emitted.line(40, 101, quantity=9) == AmendedOrder(
        "order-1",
        OrderStatus.COMPLETE,
        1,
        11,
        22,
        PaymentMethod(3),
        2,
        [Product(101, 9), Product(102, 1)],
        ORDERED_AT,
        SourcePosition(0, 3, 40, 0),
    )


def test_revisions_count_amendments_from_one(emitted: OrderLife) -> None:
    revisions = [amended(emitted.line(40 + i, 101, quantity=2 + i)).revision for i in range(3)]
    assert revisions == [1, 2, 3]


def test_raising_the_number_of_products_after_emission_amends_to_incomplete(emitted: OrderLife) -> None:
    outcome = amended(emitted.order(40, num_products=3))
    assert (outcome.status, outcome.num_products) == (OrderStatus.INCOMPLETE, 3)
    assert amended(emitted.line(50, 103)).status is OrderStatus.COMPLETE


def test_lowering_the_number_of_products_after_emission_amends(emitted: OrderLife) -> None:
    outcome = amended(emitted.order(40, num_products=1))
    assert (outcome.status, outcome.num_products, len(outcome.products)) == (OrderStatus.COMPLETE, 1, 2)


def test_a_deleted_line_after_emission_amends_to_incomplete(emitted: OrderLife) -> None:
    outcome = amended(emitted.line(40, 101, deleted=True))
    assert (outcome.status, outcome.products) == (OrderStatus.INCOMPLETE, [Product(102, 1)])


def test_a_deleted_order_after_emission_amends_to_deleted(emitted: OrderLife) -> None:
    assert amended(emitted.order(40, deleted=True)).status is OrderStatus.DELETED


def test_an_order_that_is_created_again_after_emission_is_amended_not_completed_twice(emitted: OrderLife) -> None:
    emitted.order(40, deleted=True)
    outcome = amended(emitted.order(50, customer_id=99))
    assert (outcome.status, outcome.revision, outcome.customer_id) == (OrderStatus.COMPLETE, 2, 99)


def test_a_change_older_than_the_completing_one_still_amends_if_its_own_row_is_older(emitted: OrderLife) -> None:
    """The topics are not ordered together: a line's update can be read after a later change of the order's row."""
    assert amended(emitted.line(25, 101, quantity=6)).products == [Product(101, 6), Product(102, 1)]


# -- nothing new ------------------------------------------------------------------------------------------------------


def test_a_duplicate_changes_nothing(emitted: OrderLife) -> None:
    before = deepcopy(emitted.state)
    assert emitted.order(10, num_products=2) is UNCHANGED
    assert emitted.line(20, 101) is UNCHANGED
    assert emitted.line(30, 102) is UNCHANGED
    assert emitted.state == before


def test_an_older_change_of_a_row_changes_nothing(emitted: OrderLife) -> None:
    before = deepcopy(emitted.state)
    assert emitted.order(9, num_products=7) is UNCHANGED
    assert emitted.line(19, 101, quantity=7) is UNCHANGED
    assert emitted.line(29, 102, deleted=True) is UNCHANGED
    assert emitted.state == before


def test_a_late_duplicate_does_not_revive_a_deleted_row(emitted: OrderLife) -> None:
    emitted.order(40, deleted=True)
    emitted.line(50, 101, deleted=True)
    before = deepcopy(emitted.state)
    assert emitted.order(10, num_products=2) is UNCHANGED
    assert emitted.line(20, 101) is UNCHANGED
    assert emitted.state == before


def test_a_late_duplicate_does_not_revive_a_row_deleted_before_it_was_seen(life: OrderLife) -> None:
    life.order(40, num_products=1, deleted=True)
    life.line(50)
    assert life.order(10, num_products=1) is UNCHANGED
    assert status_of(life.state) is OrderStatus.DELETED


def test_reading_both_epochs_again_from_the_beginning_changes_nothing(emitted: OrderLife) -> None:
    assert amended(emitted.line(position(99, file=1, epoch=1), 101, quantity=7)).products[0] == Product(101, 7)
    assert emitted.line(position(40, file=812), 101, quantity=9) is UNCHANGED
    assert emitted.line(position(99, file=1, epoch=1), 101, quantity=7) is UNCHANGED
    assert emitted.state.lines[101].quantity == 7


def test_a_new_epoch_is_newer_than_every_place_of_the_old_log(emitted: OrderLife) -> None:
    assert amended(emitted.line(position(1, epoch=1), 101, quantity=5)).products[0] == Product(101, 5)


def test_a_snapshot_read_of_an_emitted_order_amends_nothing(emitted: OrderLife) -> None:
    assert emitted.order(read_at(60), num_products=2) is STATE_ONLY
    assert emitted.line(read_at(60), 101) is STATE_ONLY
    assert emitted.state.revision == 0


def test_after_a_snapshot_read_older_changes_of_the_row_are_old(emitted: OrderLife) -> None:
    emitted.line(read_at(60), 101)
    assert emitted.line(59, 101, quantity=7) is UNCHANGED


def test_a_change_logged_where_a_snapshot_read_is_newer_than_the_read(emitted: OrderLife) -> None:
    emitted.line(read_at(60), 101)
    assert amended(emitted.line(60, 101, quantity=7)).products[0] == Product(101, 7)


def test_an_update_that_leaves_every_column_as_it_was_amends_nothing(emitted: OrderLife) -> None:
    assert emitted.order(60, num_products=2) is STATE_ONLY
    assert emitted.order(read_at(60), num_products=2) is UNCHANGED


def test_another_content_at_an_equal_position_is_taken(emitted: OrderLife) -> None:
    """A delete and an insert that one event makes of one row share their place in the log: the later read counts."""
    assert amended(emitted.line(30, 102, deleted=True)).products == [Product(101, 1)]
    assert amended(emitted.line(30, 102, quantity=5)).products == [Product(101, 1), Product(102, 5)]


def test_a_second_delete_amends_nothing(emitted: OrderLife) -> None:
    emitted.order(40, deleted=True)
    emitted.line(40, 101, deleted=True)
    assert emitted.order(50, deleted=True) is STATE_ONLY
    assert emitted.line(50, 101, deleted=True) is STATE_ONLY


def test_a_delete_of_a_line_that_was_never_seen_amends_nothing(emitted: OrderLife) -> None:
    assert emitted.line(40, 999, deleted=True) is STATE_ONLY


# -- refusals ---------------------------------------------------------------------------------------------------------

invalid_counts = pytest.mark.parametrize("count", [None, 0, -1, -(2**63)])


@invalid_counts
def test_an_order_without_a_number_of_products_is_rejected_and_alters_nothing(
    emitted: OrderLife, count: int | None
) -> None:
    before = deepcopy(emitted.state)
    with pytest.raises(Rejected, match="num_products: must be from 1 to"):
        emitted.order(40, num_products=count)
    assert emitted.state == before


@invalid_counts
def test_a_line_without_a_quantity_is_rejected_and_alters_nothing(emitted: OrderLife, count: int | None) -> None:
    before = deepcopy(emitted.state)
    with pytest.raises(Rejected, match="quantity: must be at least 1"):
        emitted.line(40, 101, quantity=count)
    with pytest.raises(Rejected, match="quantity: must be at least 1"):
        emitted.line(40, 999, quantity=count)
    assert emitted.state == before


@invalid_counts
def test_the_delete_of_an_invalid_row_is_accepted(emitted: OrderLife, count: int | None) -> None:
    assert amended(emitted.line(40, 101, quantity=count, deleted=True)).products == [Product(102, 1)]
    assert amended(emitted.order(50, num_products=count, deleted=True)).status is OrderStatus.DELETED


@invalid_counts
def test_a_deleted_order_keeps_the_last_valid_number_of_products(emitted: OrderLife, count: int | None) -> None:
    assert amended(emitted.order(50, num_products=count, deleted=True)).num_products == 2


def test_an_invalid_change_that_is_old_is_not_even_looked_at(emitted: OrderLife) -> None:
    assert emitted.order(5, num_products=0) is UNCHANGED
    assert emitted.line(15, 101, quantity=0) is UNCHANGED


# -- times ------------------------------------------------------------------------------------------------------------


def test_a_time_without_zone_is_taken_as_utc() -> None:
    assert as_utc(datetime(2026, 7, 1, 12)) == datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("hours", [-12, -5.5, 0, 2, 14])
def test_a_time_with_a_zone_is_the_same_instant_in_utc(hours: float) -> None:
    local = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=hours)))
    assert (as_utc(local), as_utc(local).utcoffset()) == (local, timedelta(0))


def test_one_instant_in_two_zones_is_no_change(emitted: OrderLife) -> None:
    elsewhere = ORDERED_AT.astimezone(timezone(timedelta(hours=2)))
    assert emitted.order(10, num_products=2, timestamp=elsewhere) is UNCHANGED


@pytest.mark.parametrize(
    "moment",
    [
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    ],
    ids=["before-year-1", "after-year-9999"],
)
def test_an_instant_that_utc_cannot_express_is_rejected_and_alters_nothing(
    emitted: OrderLife, moment: datetime
) -> None:
    before = deepcopy(emitted.state)
    with pytest.raises(Rejected, match="timestamp"):
        emitted.order(40, timestamp=moment)
    assert emitted.state == before
