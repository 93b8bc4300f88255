"""Goal: what a change adds to the live figures follows from its row before and after, and from the order's minute.

Method: the pure functions on single rows; times are fixed.
"""

from __future__ import annotations

import pytest

from config.definition_metrics import OrderFigures
from streams.model.figures import (
    CREATED,
    DELETED,
    READ,
    UPDATED,
    Figure,
    cents,
    customer_figures,
    item_figures,
    kind_and_before,
    minute_of,
    minutes_before,
    order_figures,
)
from tests.support.builders import created, deleted, snapshot_read, updated

NOW_S = 1_767_323_045.0  # 2026-01-02T03:04:05Z
AT_MS = 1_767_323_045_000
COLUMNS = OrderFigures(table="orders", placed_at="at", total="total", customer="customer_id")
OF = order_figures(COLUMNS, key="id", high_cents=100_000, late_s=600)
ORDER = {"id": "o1", "at": "2026-01-02T03:04:01Z", "total": "12.34", "customer_id": 7}
MINUTE = "202601020304"


def test_a_new_order_adds_itself_its_money_and_its_customers_country() -> None:
    found = OF(CREATED, None, ORDER, AT_MS, NOW_S)
    assert found == Figure(CREATED, AT_MS, MINUTE, order="o1", orders=1, cents=1_234, customer="7")


def test_a_later_total_replaces_that_of_the_order_and_a_deletion_takes_it_back() -> None:
    more = ORDER | {"total": "20.00"}
    assert OF(UPDATED, ORDER, more, AT_MS, NOW_S) == Figure(UPDATED, AT_MS, MINUTE, order="o1", cents=2_000)
    assert OF(DELETED, more, None, AT_MS, NOW_S) == Figure(DELETED, AT_MS, MINUTE, order="o1", orders=-1)


def test_what_a_snapshot_reads_and_what_is_too_late_is_only_counted() -> None:
    rich = ORDER | {"total": "5000.00"}
    assert OF(READ, None, rich, AT_MS, NOW_S) == Figure(READ, AT_MS)
    assert OF(CREATED, None, rich, AT_MS, NOW_S + 700) == Figure(CREATED, AT_MS)


def test_an_order_that_is_not_placed_yet_is_only_counted() -> None:
    draft = ORDER | {"at": None}
    assert OF(CREATED, None, draft, AT_MS, NOW_S) == Figure(CREATED, AT_MS)
    assert OF(READ, None, ORDER | {"at": "infinity"}, AT_MS, NOW_S) == Figure(READ, AT_MS)


def test_an_order_counts_from_when_it_is_placed_until_that_is_taken_back() -> None:
    draft = ORDER | {"at": None}
    assert OF(UPDATED, draft, ORDER, AT_MS, NOW_S) == Figure(
        UPDATED, AT_MS, MINUTE, order="o1", orders=1, cents=1_234, customer="7"
    )
    assert OF(UPDATED, ORDER, draft, AT_MS, NOW_S) == Figure(UPDATED, AT_MS, MINUTE, order="o1", orders=-1)
    assert OF(DELETED, draft, None, AT_MS, NOW_S) == Figure(DELETED, AT_MS)


@pytest.mark.parametrize("total", ["10000000000000.01", "-1e17", 10**30])
def test_an_amount_that_redis_could_not_add_is_refused(total: object) -> None:
    assert cents("9999999999999.99") == 999_999_999_999_999
    with pytest.raises(ValueError, match="too large an amount of money"):
        cents(total)


def test_a_quantity_that_redis_could_not_add_is_refused() -> None:
    with pytest.raises(ValueError, match="no number of pieces"):
        item_figures("o", "q", late_s=600)(CREATED, None, {"o": 1, "q": 2**63 - 1}, AT_MS, NOW_S)


@pytest.mark.parametrize(
    ("before", "after", "is_high"),
    [(None, "999.99", False), (None, "1000.00", True), ("999.99", "1000", True), ("1000", "2000.00", False)],
)
def test_a_total_that_becomes_high_raises_an_alert_once(before: str | None, after: str, is_high: bool) -> None:
    was = None if before is None else ORDER | {"total": before}
    found = OF(UPDATED if was else CREATED, was, ORDER | {"total": after}, AT_MS, NOW_S)
    assert found.high == (("o1", cents(after)) if is_high else None)


@pytest.mark.parametrize(("value", "expected"), [("0.01", 1), ("12.345", 1_234), (7, 700), (None, 0), ("-1.50", -150)])
def test_money_is_whole_cents(value: object, expected: int) -> None:
    assert cents(value) == expected


@pytest.mark.parametrize("value", ["NAN", "POSITIVE_INFINITY", "x", "", True, [1]])
def test_what_is_no_money_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no amount of money"):
        cents(value)


def test_a_minute_is_in_utc() -> None:
    expected = (MINUTE, 1_767_323_040)
    for time in ("2026-01-02T03:04:05.678Z", "2026-01-02T05:04:05+02:00", "2026-01-02T03:04:05"):
        assert minute_of(time) == expected
    for wrong in (None, "infinity", 5):
        with pytest.raises(ValueError, match=r".+"):
            minute_of(wrong)


def test_the_last_full_minutes_do_not_include_this_one() -> None:
    assert minutes_before(NOW_S, 3) == ["202601020303", "202601020302", "202601020301"]


def test_a_customers_country_is_known_from_any_change_and_forgotten_with_the_customer() -> None:
    of = customer_figures("id", "country")
    row = {"id": 7, "country": "DE"}
    assert of(READ, None, row, AT_MS, NOW_S).country == ("7", "DE")
    assert of(UPDATED, row, {"id": 7, "country": None}, AT_MS, NOW_S).country == ("7", "unknown")
    assert of(DELETED, row, None, AT_MS, NOW_S).country == ("7", None)


def test_an_item_adds_its_pieces_to_its_order() -> None:
    of = item_figures("order_id", "quantity", late_s=600)
    one, three = ({"order_id": "o1", "quantity": number} for number in (1, 3))
    assert of(CREATED, None, three, AT_MS, NOW_S).quantity == ("o1", 3)
    assert of(UPDATED, one, three, AT_MS, NOW_S).quantity == ("o1", 2)
    assert of(DELETED, three, None, AT_MS, NOW_S).quantity == ("o1", -3)
    assert of(READ, None, three, AT_MS, NOW_S).quantity is None
    assert of(CREATED, None, three, AT_MS, NOW_S + 700).quantity is None
    with pytest.raises(ValueError, match="number of pieces"):
        of(CREATED, None, {"order_id": "o1", "quantity": "3"}, AT_MS, NOW_S)


def test_the_kind_and_the_row_before_are_read_from_both_forms_of_an_envelope() -> None:
    for is_wrapped in (False, True):
        assert kind_and_before(created(ORDER, wrapped=is_wrapped)) == (CREATED, None)
        assert kind_and_before(updated(ORDER, ORDER, wrapped=is_wrapped)) == (UPDATED, ORDER)
        assert kind_and_before(deleted(ORDER, wrapped=is_wrapped)) == (DELETED, ORDER)
        assert kind_and_before(snapshot_read(ORDER, wrapped=is_wrapped)) == (READ, None)


@pytest.mark.parametrize("column", ["at", "total", "customer_id"])
def test_an_order_without_a_column_that_is_counted_is_refused(column: str) -> None:
    renamed = {f"new_{name}" if name == column else name: value for name, value in ORDER.items()}
    with pytest.raises(ValueError, match=f"^{column}: the row has no such column"):
        OF(CREATED, None, renamed, AT_MS, NOW_S)


def test_a_customer_without_a_country_and_an_item_without_pieces_are_refused() -> None:
    with pytest.raises(ValueError, match="country: "):
        customer_figures("id", "country")(UPDATED, None, {"id": 1}, AT_MS, NOW_S)
    with pytest.raises(ValueError, match="quantity: "):
        item_figures("order_id", "quantity", late_s=600)(CREATED, None, {"order_id": "o1"}, AT_MS, NOW_S)
