"""What is in an envelope comes out of the decoder as it went in.

Method: envelopes as Debezium's MariaDB connector emits them, from `tests/support/builders.py`. What cannot be read is
the matter of `test_malformed.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streams.model.change import MAX_ID_LENGTH, Change, Malformed, Tombstone, change_decoder
from streams.model.order import OrderColumns, OrderDetailColumns, as_utc
from tests.support.builders import (
    COMMITTED_MS,
    as_json,
    created,
    deleted,
    detail_row,
    envelope,
    order_row,
    payload,
    position,
    read_at,
    snapshot_read,
    updated,
    wrap,
)

decode_order = change_decoder(OrderColumns, key_of=lambda row: row.id)
decode_detail = change_decoder(OrderDetailColumns, key_of=lambda row: row.order_id)

KEY = b"order-1"
wrapped_or_not = pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])


def order_in(value: bytes, key: bytes = KEY) -> Change[OrderColumns]:
    change = decode_order(key, value)
    assert isinstance(change, Change), change
    return change


@wrapped_or_not
def test_an_insert_carries_the_new_row_its_key_and_its_position(wrapped: bool) -> None:
    change = order_in(created(order_row(), position(5_000, row=2), wrapped=wrapped))
    assert change == Change(
        KEY,
        OrderColumns("order-1", 11, 22, 3, 2, datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)),
        False,
        position(5_000, row=2),
        COMMITTED_MS,
        server_id=1,
    )


@wrapped_or_not
def test_an_update_carries_the_row_after_it(wrapped: bool) -> None:
    change = order_in(updated(order_row(num_products=2), order_row(num_products=5), wrapped=wrapped))
    assert (change.row.num_products, change.deleted) == (5, False)


@wrapped_or_not
def test_a_delete_carries_the_row_before_it(wrapped: bool) -> None:
    change = order_in(deleted(order_row(num_products=7), position(6_000), wrapped=wrapped))
    assert (change.row.num_products, change.deleted, change.position) == (7, True, position(6_000))


@wrapped_or_not
def test_a_snapshot_read_counts_before_every_row_of_its_place(wrapped: bool) -> None:
    change = order_in(snapshot_read(order_row(), position(5_000), wrapped=wrapped))
    assert (change.position, change.deleted) == (read_at(5_000), False)


def test_product_lines_are_keyed_by_their_order() -> None:
    assert decode_detail(KEY, created(detail_row(product_id=9, quantity=4), position(70))) == Change(
        KEY, OrderDetailColumns("order-1", 9, 4), False, position(70), COMMITTED_MS, server_id=1
    )


def test_the_epoch_of_the_log_leads_the_position() -> None:
    assert order_in(created(order_row(), position(5_000, epoch=4))).position == position(5_000, epoch=4)


def test_a_record_that_does_not_name_its_connector_is_of_the_first_epoch_and_an_unknown_server() -> None:
    for strange in (None, 7, ["project_db.e3"], {"name": "project_db.e3"}, "project_db.e0", "project_db.e3\n"):
        fields = payload("c", after=order_row(), at=position(5_000))
        fields["source"] |= {"name": strange, "server_id": "2"}
        change = order_in(as_json(fields))
        assert (change.position, change.server_id) == (position(5_000), 0)


def test_a_source_without_a_row_number_means_the_first_row() -> None:
    fields = payload("c", after=order_row(), at=position(5_000, row=9))
    fields["source"]["row"] = None
    assert order_in(as_json(fields)).position == position(5_000)


def test_a_missing_value_is_a_tombstone() -> None:
    assert decode_order(KEY, None) == Tombstone()
    assert decode_order(None, None) == Tombstone()


def test_a_wrapper_around_null_is_a_tombstone() -> None:
    assert decode_order(KEY, as_json(wrap(None))) == Tombstone()


def test_fields_that_nobody_asked_for_are_ignored() -> None:
    fields = payload("c", after=order_row(gift_note="for you", weight_g=1.5, tags=["a", {"b": None}]))
    fields["source"]["hyper"] = {"new": [1]}
    fields["transaction"] = {"id": "7", "total_order": 1, "data_collection_order": 1}
    assert order_in(as_json(fields)) == order_in(created(order_row()))


def test_the_order_of_fields_does_not_matter() -> None:
    fields = payload("c", after=order_row())
    assert order_in(as_json(dict(reversed(fields.items())))) == order_in(as_json(fields))


@pytest.mark.parametrize("column", ["customer_id", "store_id", "payment_method_id", "num_products"])
def test_a_null_in_a_column_that_may_be_null_is_kept_as_none(column: str) -> None:
    assert getattr(order_in(created(order_row(**{column: None}))).row, column) is None


@pytest.mark.parametrize("number", [-(2**63), -1, 0, 2**63 - 1])
def test_numbers_of_64_bits_are_kept_exactly(number: int) -> None:
    assert order_in(created(order_row(customer_id=number))).row.customer_id == number


def test_text_in_an_id_stays_data() -> None:
    order_id = "../`';DROP TABLE orders;--\n\x1b[31m ☃"
    assert order_in(created(order_row(order_id)), order_id.encode()).row.id == order_id


@pytest.mark.parametrize("order_id", ["k", "k" * MAX_ID_LENGTH, "\u00fc" * MAX_ID_LENGTH])
def test_an_id_of_up_to_255_characters_is_read(order_id: str) -> None:
    assert order_in(created(order_row(order_id)), order_id.encode()).row.id == order_id


@pytest.mark.parametrize("order_id", ["", "k" * (MAX_ID_LENGTH + 1), "k" * 1_000_000])
def test_an_empty_or_longer_id_is_malformed(order_id: str) -> None:
    malformed = decode_order(order_id.encode(), created(order_row(order_id)))
    assert isinstance(malformed, Malformed)
    assert "length" in malformed.reason


@pytest.mark.parametrize(
    "text",
    ["2026-01-02T03:04:05.000006Z", "2026-01-02T05:04:05.000006+02:00", "2026-01-02T03:04:05.000006"],
    ids=["utc", "zone", "no-zone"],
)
def test_one_instant_is_read_from_every_spelling(text: str) -> None:
    moment = as_utc(order_in(created(order_row(timestamp=text))).row.timestamp)
    assert (moment, moment.utcoffset()) == (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), timedelta(0))


@pytest.mark.parametrize("before", [None, order_row(num_products=1)])
def test_an_insert_or_update_needs_no_row_before_it(before: dict[str, Any] | None) -> None:
    assert order_in(envelope("u", before=before, after=order_row())).row.num_products == 2
