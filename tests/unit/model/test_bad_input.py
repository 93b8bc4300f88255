"""Every class of input has one rule: it is read exactly, it changes nothing, or it is a dead letter.

Method: what `test_malformed.py`, `test_change.py` and `test_order.py` leave open: encodings of time, numbers of both
tables, placeholders, events that are no change of a row, keys that look alike, a key that changes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from streams.model.change import UNAVAILABLE, Change, Malformed, Tombstone, change_decoder
from streams.model.fold import STATE_ONLY, UNCHANGED
from streams.model.order import OrderColumns, OrderDetailColumns, OrderState, as_utc, fold_order, fold_order_detail
from streams.model.published import AmendedOrder, CompleteOrder, OrderStatus
from tables.order_state import CODEC
from tests.support.builders import (
    as_json,
    created,
    deleted,
    detail_row,
    order_row,
    payload,
    position,
    source,
    updated,
    wrap,
)

KEY = b"order-1"
decode_order = change_decoder(OrderColumns, key_of=lambda row: row.id)
decode_detail = change_decoder(OrderDetailColumns, key_of=lambda row: row.order_id)


def reason(value: bytes, key: bytes | None = KEY, *, decode: Any = decode_order) -> str:
    answer = decode(key, value)
    assert isinstance(answer, Malformed), answer
    return answer.reason


def change(value: bytes, key: bytes = KEY, *, decode: Any = decode_order) -> Change[Any]:
    answer = decode(key, value)
    assert isinstance(answer, Change), answer
    return answer


def raw_column(row: dict[str, Any], column: str, raw: bytes) -> bytes:
    """An insert with one column of raw JSON."""
    return created(row | {column: "HERE"}).replace(b'"HERE"', raw)


# -- time: text in RFC 3339 is read, nothing else ---------------------------------------------------------------------

READ_TIMES = {
    "2026-01-02T03:04:05Z": "2026-01-02T03:04:05+00:00",
    "2026-01-02T03:04:05.1Z": "2026-01-02T03:04:05.100000+00:00",
    "2026-01-02T03:04:05.123Z": "2026-01-02T03:04:05.123000+00:00",
    "2026-01-02T03:04:05.123456Z": "2026-01-02T03:04:05.123456+00:00",
    "2026-01-02T03:04:05.123456789Z": "2026-01-02T03:04:05.123457+00:00",  # nanoseconds are rounded
    "2026-01-02T23:59:59.9999999Z": "2026-01-03T00:00:00+00:00",
    "2026-01-02t03:04:05z": "2026-01-02T03:04:05+00:00",
    "2026-01-02 03:04:05": "2026-01-02T03:04:05+00:00",  # no zone: UTC, the zone that the source is run in
    "2026-01-02T03:04:05.5+05:30": "2026-01-01T21:34:05.500000+00:00",
    "2026-01-02T03:04:05-0800": "2026-01-02T11:04:05+00:00",
    "2026-01-02T03:04:05+23:59": "2026-01-01T03:05:05+00:00",
    "2024-02-29T00:00:00Z": "2024-02-29T00:00:00+00:00",
    "1970-01-01T00:00:00Z": "1970-01-01T00:00:00+00:00",  # also what the connector makes of a zero date
    "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999+00:00",
}


@pytest.mark.parametrize(("text", "instant"), READ_TIMES.items(), ids=READ_TIMES)
def test_a_time_is_read_as_the_exact_instant_in_utc(text: str, instant: str) -> None:
    assert as_utc(change(created(order_row(timestamp=text))).row.timestamp) == datetime.fromisoformat(instant)


REFUSED_TIMES = {
    "microseconds": b"1767323045000006",
    "milliseconds": b"1767323045123",
    "seconds with a fraction": b"1767323045.5",
    "days": b"20455",
    "microseconds as text": b'"1767323045000006"',
    "date": b'"2026-01-02"',
    "time": b'"03:04:05"',
    "no seconds": b'"2026-01-02T03:04Z"',
    "zone of hours": b'"2026-01-02T03:04:05+02"',
    "zone by name": b'"2026-01-02T03:04:05[Europe/Berlin]"',
    "zone of a day": b'"2026-01-02T03:04:05+24:00"',
    "compact": b'"20260102T030405Z"',
    "week": b'"2026-W01-5T03:04:05Z"',
    "zero date": b'"0000-00-00T00:00:00Z"',
    "zero date, as MySQL writes it": b'"0000-00-00 00:00:00"',
    "year 0": b'"0000-01-01T00:00:00Z"',
    "year of five digits": b'"12026-01-02T03:04:05Z"',
    "before our era": b'"-0001-01-02T03:04:05Z"',
    "leap second": b'"2016-12-31T23:59:60Z"',
    "leap second in a zone": b'"2017-01-01T00:59:60+01:00"',
    "hour 24": b'"2026-01-02T24:00:00Z"',
    "February 29 of a common year": b'"2026-02-29T00:00:00Z"',
    "rounded out of range": b'"9999-12-31T23:59:59.9999999Z"',
    "blank at the end": b'"2026-01-02T03:04:05Z "',
    "placeholder": b'"__debezium_unavailable_value"',
    "object": b'{"seconds":1}',
    "NaN": b"NaN",
}


@pytest.mark.parametrize("raw", REFUSED_TIMES.values(), ids=REFUSED_TIMES.keys())
def test_another_encoding_of_time_is_a_dead_letter(raw: bytes) -> None:
    assert reason(raw_column(order_row(), "timestamp", raw))


# -- numbers ----------------------------------------------------------------------------------------------------------

WRONG_NUMBERS = {
    "null": b"null",
    "text": b'"1"',
    "bytes of a decimal": b'"AYag"',
    "decimal": b"1.0",
    "exponent": b"1e2",
    "NaN": b"NaN",
    "infinite": b"-Infinity",
    "more than 64 bits": b"9223372036854775808",
    "10,000 digits": b"9" * 10_000,
    "true": b"true",
    "placeholder": b'"__debezium_unavailable_value"',
}


@pytest.mark.parametrize("raw", WRONG_NUMBERS.values(), ids=WRONG_NUMBERS.keys())
@pytest.mark.parametrize("column", ["product_id", "quantity"])
def test_a_product_line_with_a_wrong_number_is_a_dead_letter(column: str, raw: bytes) -> None:
    value = raw_column(detail_row(), column, raw)
    if (column, raw) == ("quantity", b"null"):
        assert change(value, decode=decode_detail).row.quantity is None  # which the fold refuses by its own rule
    else:
        assert reason(value, decode=decode_detail)


@pytest.mark.parametrize("column", ["order_id", "product_id", "quantity"])
def test_a_product_line_without_a_column_names_it(column: str) -> None:
    row = detail_row()
    del row[column]
    assert column in reason(created(row), decode=decode_detail)


def test_the_largest_quantity_is_kept_exactly() -> None:
    state = OrderState()
    fold_order_detail(state, change(created(detail_row(quantity=2**63 - 1)), decode=decode_detail))
    assert CODEC.decode(CODEC.encode(state)).lines[101].quantity == 2**63 - 1


@pytest.mark.parametrize("raw", [b"9" * 10_000, b"-" + b"9" * 10_000, b"1e999999", b"0." + b"3" * 10_000])
def test_a_number_of_any_size_in_a_field_that_nobody_reads_is_passed_over(raw: bytes) -> None:
    assert change(raw_column(order_row(), "note", raw)) == change(created(order_row()))


@pytest.mark.parametrize("field", ["pos", "row"])
def test_a_position_of_10_000_digits_is_a_dead_letter(field: str) -> None:
    fields = payload("c", after=order_row())
    fields["source"][field] = "HERE"
    assert field in reason(as_json(fields).replace(b'"HERE"', b"9" * 10_000))


# -- what is no change of a row ---------------------------------------------------------------------------------------

NO_CHANGE_OF_A_ROW = {
    "heartbeat": {"ts_ms": 1_767_323_045_000},
    "transaction begins": {"status": "BEGIN", "id": "f1", "event_count": None, "data_collections": None, "ts_ms": 1},
    "transaction ends": {"status": "END", "id": "f1", "event_count": 2, "data_collections": [{"event_count": 2}]},
    "truncate": {"op": "t", "before": None, "after": None, "source": source(position(1)), "ts_ms": 1},
    "message": {"op": "m", "source": source(position(1)), "message": {"prefix": "p", "content": "AA=="}},
    "schema change": {"source": source(position(1)), "ddl": "DROP TABLE orders", "tableChanges": []},
    "signal": {"id": "1", "type": "execute-snapshot", "data": "{}"},
    "row alone": order_row(),
    "nothing": {},
}


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
@pytest.mark.parametrize("fields", NO_CHANGE_OF_A_ROW.values(), ids=NO_CHANGE_OF_A_ROW.keys())
def test_an_event_that_is_no_change_of_a_row_is_a_dead_letter_in_an_order_topic(
    fields: dict[str, Any], wrapped: bool
) -> None:
    assert "op" in reason(as_json(wrap(fields) if wrapped else fields))


@pytest.mark.parametrize("inner", [None, payload("c", after=order_row(num_products=9))], ids=["null", "another change"])
def test_an_envelope_with_a_payload_beside_it_is_a_dead_letter_and_not_a_tombstone(inner: Any) -> None:
    assert "payload" in reason(as_json(payload("c", after=order_row()) | {"payload": inner}))


def test_a_wrapper_without_its_schema_is_read() -> None:
    assert change(as_json({"payload": payload("c", after=order_row())})) == change(created(order_row()))


# -- the columns ------------------------------------------------------------------------------------------------------


def test_the_placeholder_of_a_value_that_is_not_available_never_becomes_a_key() -> None:
    text = UNAVAILABLE.decode()
    for value in (created(order_row(text)), deleted(order_row(text)), created(order_row(text), wrapped=True)):
        assert "placeholder" in reason(value, UNAVAILABLE)
    assert "placeholder" in reason(created(detail_row(text)), UNAVAILABLE, decode=decode_detail)


@pytest.mark.parametrize("column", ["customer_id", "store_id", "payment_method_id", "num_products", "timestamp"])
def test_the_placeholder_is_no_value_of_any_column(column: str) -> None:
    assert column in reason(created(order_row(**{column: UNAVAILABLE.decode()})))


def test_the_placeholder_is_no_value_where_the_columns_are_not_known() -> None:
    decode = change_decoder(dict[str, Any], key_of=lambda row: str(row["id"]))
    assert "note: the database did not log" in reason(created(order_row(note=UNAVAILABLE.decode())), decode=decode)


def test_the_placeholder_in_a_column_that_nobody_reads_is_passed_over() -> None:
    assert change(created(order_row(note=UNAVAILABLE.decode()))) == change(created(order_row()))


def test_a_delete_needs_every_column_of_the_row_before_it() -> None:
    assert "customer_id" in reason(deleted({"id": "order-1"}))


def test_an_update_whose_row_before_it_lacks_a_column_is_a_dead_letter() -> None:
    assert "$.before" in reason(updated({"id": "order-1"}, order_row()))


def test_of_a_field_that_comes_twice_the_last_one_counts() -> None:
    twice = created(order_row(num_products=1)).replace(b'"num_products":1', b'"num_products":1,"num_products":7')
    assert change(twice).row.num_products == 7


def test_bytes_that_are_no_utf_8_matter_where_they_are_read_only() -> None:
    assert reason(raw_column(order_row(), "id", b'"\xff"'))
    assert change(raw_column(order_row(), "note", b'"\xff"')) == change(created(order_row()))


LOOK_ALIKES = [
    "order",
    "Order",
    "ORDER",
    "órder",
    "o\u0301rder",
    "orde\u0280",
    "order ",
    "order\x00",
    "\u043erder",
    "0rder",
]


def test_keys_that_look_alike_are_different_orders() -> None:
    keys = {change(created(order_row(text)), text.encode()).key for text in LOOK_ALIKES}
    assert len(keys) == len(LOOK_ALIKES)


# -- a row's history --------------------------------------------------------------------------------------------------


class States:
    """The states of several orders, fed with records of both tables."""

    def __init__(self) -> None:
        self.by_key: dict[bytes, OrderState] = {}

    def order(self, key: bytes, value: bytes | None) -> Any:
        return self._fold(fold_order, decode_order(key, value))

    def line(self, key: bytes, value: bytes | None) -> Any:
        return self._fold(fold_order_detail, decode_detail(key, value))

    def _fold(self, fold: Any, read: Any) -> Any:
        if isinstance(read, Tombstone):
            return read
        assert isinstance(read, Change), read
        return fold(self.by_key.setdefault(read.key, OrderState()), read)


def test_a_key_that_changes_is_the_end_of_one_order_and_another_one() -> None:
    states, old, new = States(), order_row("old", num_products=1), order_row("new", num_products=1)
    states.order(b"old", created(old, position(10)))
    assert isinstance(states.line(b"old", created(detail_row("old"), position(20))), CompleteOrder)
    ended = states.order(b"old", deleted(old, position(30)))
    assert states.order(b"old", None) == Tombstone()
    states.order(b"new", created(new, position(30)))
    states.line(b"old", deleted(detail_row("old"), position(40)))
    assert states.line(b"old", None) == Tombstone()
    moved = states.line(b"new", created(detail_row("new"), position(40)))
    assert isinstance(ended, AmendedOrder)
    assert ended.status is OrderStatus.DELETED
    assert isinstance(moved, CompleteOrder)
    assert moved.order_id == "new"


def test_a_deleted_order_stays_deleted_whatever_comes_late() -> None:
    states, row = States(), order_row(num_products=1)
    states.order(KEY, created(row, position(10)))
    states.order(KEY, deleted(row, position(30)))
    states.order(KEY, None)
    for late in (created(row, position(10)), updated(row, row | {"store_id": 1}, position(20))):
        assert states.order(KEY, late) is UNCHANGED
    assert states.line(KEY, created(detail_row(), position(40))) is STATE_ONLY
    assert isinstance(states.order(KEY, created(row, position(50))), CompleteOrder), "a newer row is another matter"
