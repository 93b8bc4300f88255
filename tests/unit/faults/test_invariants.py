"""Goal: each invariant of the fault suite holds for a sound outcome, and names the fault in an unsound one.

Method: small histories written by hand; the functions are pure.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from streams.model.order import OrderRow, OrderState, ProductLine
from tests.faults.invariants import (
    ShopOrder,
    ShopRows,
    content_differences,
    database_differences,
    dead_letter_faults,
    position_regressions,
    repeats,
    replayed,
    revision_faults,
    truth_faults,
)
from tests.support.kafka import Record

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHOP = ShopRows({"A": ShopOrder(11, 22, 3, 1, MOMENT)}, {"A": {7: 2}})


def state(row_at: int, **lines_at: int) -> OrderState:
    """An order whose row and lines were seen at these positions of one log file."""
    row = OrderRow(11, 22, 3, 1, MOMENT, False, (0, 1, row_at, 0))
    lines = {int(name.removeprefix("p")): ProductLine(2, False, (0, 1, at, 0)) for name, at in lines_at.items()}
    return OrderState(row=row, lines=lines)


def changelog(offset: int, key: bytes, value: bytes | None) -> Record:
    """A record of the changelog."""
    return Record("changelog", 0, offset, key, value, {})


def published(**changed: Any) -> dict[str, Any]:
    """A record of the order as the shop has it."""
    value = {
        "order_id": "A",
        "customer_id": 11,
        "store_id": 22,
        "payment_method": {"id": 3, "name": "Visa", "bank": "First"},
        "num_products": 1,
        "products": [{"product_id": 7, "quantity": 2}],
        "ordered_at": "2026-01-02T03:04:05Z",
    }
    return value | changed


def test_positions_that_grow_or_stay_are_sound() -> None:
    assert (
        position_regressions([(b"A", state(5)), (b"B", state(3)), (b"A", state(5, p7=4)), (b"A", state(9, p7=4))]) == []
    )


@pytest.mark.parametrize("later", [state(4, p7=6), state(5, p7=5), state(5)], ids=["row", "line", "forgotten line"])
def test_a_source_row_that_goes_back_is_a_fault(later: OrderState) -> None:
    assert len(position_regressions([(b"A", state(5, p7=6)), (b"A", later)])) == 1


def test_a_forgotten_order_may_begin_anew() -> None:
    assert position_regressions([(b"A", state(5)), (b"A", None), (b"A", state(1))]) == []


def test_revisions_count_from_one_per_order() -> None:
    assert revision_faults([("A", 1), ("B", 1), ("A", 2)]) == []


@pytest.mark.parametrize("revisions", [[2], [1, 1], [1, 3], [1, 2, 1]])
def test_a_gap_or_a_repeat_in_revisions_is_a_fault(revisions: list[int]) -> None:
    assert len(revision_faults(("A", revision) for revision in revisions)) == 1


def test_a_changelog_says_what_it_said_at_an_offset() -> None:
    records = [changelog(1, b"A", b"1"), changelog(3, b"B", b"1"), changelog(4, b"A", b"2"), changelog(6, b"B", None)]
    assert replayed(records) == {b"A": b"2"}
    assert replayed(records, up_to=3) == {b"A": b"1", b"B": b"1"}


def test_a_store_that_is_ahead_behind_or_different_is_a_fault() -> None:
    assert content_differences("store", {b"A": b"1"}, {b"A": b"1"}) == []
    found = content_differences("store", {b"A": b"1", b"B": b"1"}, {b"A": b"2", b"C": b"1"})
    assert found == ["store: b'C' is missing", "store: b'B' is extra", "store: b'A' differs"]


def test_a_state_that_agrees_with_the_database_is_sound() -> None:
    deleted = OrderState(lines={7: ProductLine(2, True, (0, 1, 1, 0))})
    assert database_differences({"A": state(5, p7=6), "gone": deleted}, SHOP) == []


@pytest.mark.parametrize("states", [{}, {"A": state(5)}, {"A": state(5, p7=6), "B": state(1)}])
def test_a_state_that_differs_from_the_database_is_a_fault(states: dict[str, OrderState]) -> None:
    assert database_differences(states, SHOP)


def test_the_newest_record_agrees_with_the_database() -> None:
    late = published(status="complete", revision=1)
    assert truth_faults({"A": published()}, {}, SHOP) == []
    assert truth_faults({"A": published(customer_id=1)}, {"A": late}, SHOP) == []
    gone = published(order_id="B", status="deleted", customer_id=5)
    assert truth_faults({"A": published(), "B": published()}, {"B": gone}, SHOP) == []


@pytest.mark.parametrize(
    ("final", "amended"),
    [
        ({"A": published(customer_id=1)}, {}),
        ({"A": published(products=[])}, {}),
        ({"A": published()}, {"A": published(status="incomplete")}),
        ({"A": published(), "B": published(order_id="B")}, {}),
        ({}, {"A": published(status="complete")}),
    ],
    ids=["a field", "a line", "the status", "deleted, but nobody said so", "amended, but never published"],
)
def test_a_newest_record_that_is_not_the_databases_is_a_fault(final: dict[str, Any], amended: dict[str, Any]) -> None:
    assert len(truth_faults(final, amended, SHOP)) == 1


def bad(offset: int) -> Record:
    """An injected record."""
    return Record("orders", 0, offset, b"bad", b"{", {})


def dead(offset: int, value: bytes = b"{", reason: str = "JSON") -> Record:
    """The dead letter of what stood at an offset."""
    origin = {"topic": "orders", "partition": "0", "offset": str(offset)}
    return Record("dead_letters", 0, 100 + offset, b"bad", value, {**origin, "reason": reason})


def test_one_dead_letter_for_each_bad_record_is_sound() -> None:
    assert dead_letter_faults([bad(1), bad(2)], [dead(2), dead(1)]) == []
    assert dead_letter_faults([bad(1), bad(1)], [dead(1), dead(1)]) == [], "read twice by a replay"


@pytest.mark.parametrize(
    "found", [[], [dead(1), dead(1)], [dead(1), dead(2)], [dead(1, b"other")], [dead(1, reason="")]]
)
def test_a_lost_repeated_foreign_or_altered_dead_letter_is_a_fault(found: list[Record]) -> None:
    assert len(dead_letter_faults([bad(1)], found)) == 1


def test_repeats_are_counted() -> None:
    assert repeats([(1, "a"), (2, "a"), (1, "a"), (1, "a")]) == 2
