"""Whatever cannot be read becomes `Malformed` with a reason fit for a header and a log line, never an exception.

Method: each kind of damage by name, with a word that its reason has to contain; then arbitrary bytes and arbitrary
JSON from Hypothesis.
"""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.model.change import Change, Malformed, Tombstone, change_decoder
from streams.model.order import OrderColumns
from tests.support.builders import as_json, created, deleted, envelope, order_row, payload, wrap

decode = change_decoder(OrderColumns, key_of=lambda row: row.id)

KEY = b"order-1"
GOOD: Final = created(order_row())
REASON_MAX = 300


def reason(value: bytes, key: bytes | None = KEY) -> str:
    answer = decode(key, value)
    assert isinstance(answer, Malformed), answer
    assert is_one_printable_line(answer.reason), answer.reason
    return answer.reason


def is_one_printable_line(text: str) -> bool:
    return text.isprintable() and 0 < len(text) <= REASON_MAX


def without(name: str, *, inside: str | None = None) -> bytes:
    """A good insert that lacks a field."""
    fields = payload("c", after=order_row())
    del (fields if inside is None else fields[inside])[name]
    return as_json(fields)


def with_source(**fields: Any) -> bytes:
    """A good insert with another source block."""
    whole = payload("c", after=order_row())
    whole["source"] |= fields
    return as_json(whole)


def with_column(raw_json: bytes, column: bytes = b"customer_id") -> bytes:
    """A good insert with a column of raw JSON, which need not be valid."""
    marker = b'"' + column + b'":'
    head, _, tail = GOOD.partition(marker)
    return head + marker + raw_json + tail[tail.index(b",") :]


# -- the bytes --------------------------------------------------------------------------------------------------------

DAMAGED_BYTES = {
    "empty": b"",
    "blank": b" \n",
    "not-json": b"<xml/>",
    "truncated": GOOD[: len(GOOD) // 2],
    "truncated-by-one": GOOD[:-1],
    "trailing-rubbish": GOOD + b"}",
    "two-values": GOOD + GOOD,
    "invalid-utf-8": GOOD.replace(b"order-1", b"order-\xff"),
    "invalid-utf-8-in-a-name": b'{"\xc3\x28": 1}',
    "byte-order-mark": b"\xef\xbb\xbf" + GOOD,
    "utf-16": GOOD.decode().encode("utf-16"),
    "lone-surrogate": GOOD.replace(b"order-1", b"order-\\ud800"),
    "nul-bytes": b"\x00" * 64,
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}


@pytest.mark.parametrize("value", DAMAGED_BYTES.values(), ids=DAMAGED_BYTES.keys())
def test_bytes_that_are_no_json_are_malformed(value: bytes) -> None:
    assert reason(value)


@pytest.mark.parametrize("value", [b"null", b"true", b"1", b'"text"', b"[]", b"[{}]"])
def test_json_that_is_no_object_is_malformed(value: bytes) -> None:
    assert "object" in reason(value)


def test_every_prefix_of_a_good_value_is_malformed() -> None:
    for length in range(len(GOOD)):
        assert reason(GOOD[:length])


@pytest.mark.parametrize("rubbish", [b"x" * 10_000_000, b'"' + b"x" * 10_000_000 + b'"', b"[" * 10_000_000])
def test_ten_megabytes_of_rubbish_have_a_short_reason(rubbish: bytes) -> None:
    assert reason(rubbish)


def test_a_good_value_of_ten_megabytes_is_read() -> None:
    assert isinstance(decode(KEY, created(order_row(note="x" * 10_000_000))), Change)


@pytest.mark.parametrize("deep", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
def test_deep_nesting_is_malformed_wherever_it_stands(deep: bytes) -> None:
    for value in (deep, with_column(deep), GOOD[:-1] + b',"unknown":' + deep + b"}"):
        assert reason(value)


# -- the envelope -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["t", "m", "x", "", "C", "cc", "c" * 1_000_000])
def test_an_operation_that_is_no_change_of_a_row_is_malformed(op: str) -> None:
    assert reason(envelope(op, before=order_row(), after=order_row())).startswith("op: ")


def test_a_truncate_as_debezium_emits_it_is_malformed() -> None:
    assert "'t'" in reason(envelope("t"))


@pytest.mark.parametrize("field", ["op", "source"])
def test_a_missing_field_is_named(field: str) -> None:
    assert field in reason(without(field))


@pytest.mark.parametrize("field", ["op", "source"])
def test_a_missing_field_in_a_wrapped_envelope_is_named(field: str) -> None:
    fields = payload("c", after=order_row())
    del fields[field]
    assert field in reason(as_json(wrap(fields)))


@pytest.mark.parametrize("op", ["c", "u", "r"])
def test_a_change_without_a_row_after_it_is_malformed(op: str) -> None:
    assert "after" in reason(envelope(op, before=order_row()))


def test_a_delete_without_a_row_before_it_is_malformed() -> None:
    assert "before" in reason(envelope("d", after=order_row()))


def test_absent_rows_are_malformed_as_null_ones_are() -> None:
    assert "after" in reason(without("after"))


def test_a_schema_change_event_is_malformed() -> None:
    assert "op" in reason(as_json({"source": {}, "databaseName": "project_db", "ddl": "ALTER TABLE …"}))


def test_a_transaction_marker_is_malformed() -> None:
    assert "source" in reason(as_json({"status": "BEGIN", "id": "1", "event_count": None, "op": "c"} | row_after()))


def row_after() -> dict[str, Any]:
    return {"after": order_row()}


@pytest.mark.parametrize("op", [1, None, True, [], {}])
def test_an_operation_that_is_no_text_is_malformed(op: Any) -> None:
    assert "op" in reason(as_json(payload("c", after=order_row()) | {"op": op}))


@pytest.mark.parametrize("payload_", [[], "text", 1, {}])
def test_a_payload_that_is_no_envelope_is_malformed(payload_: Any) -> None:
    assert "payload" in reason(as_json(wrap(None) | {"payload": payload_}))


def test_a_wrapper_without_payload_is_malformed() -> None:
    assert reason(as_json({"schema": {"type": "struct"}}))


# -- the position -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["file", "pos"])
@pytest.mark.parametrize("null", [False, True], ids=["missing", "null"])
def test_a_source_without_a_log_position_is_malformed(field: str, null: bool) -> None:
    assert "position" in reason(with_source(**{field: None}) if null else without(field, inside="source"))


@pytest.mark.parametrize("file", ["", "mysql-bin", "mysql-bin.", "mysql-bin.x", "\x1b[2J\n", "bin.٣"])
def test_a_log_file_without_a_number_is_malformed(file: str) -> None:
    assert "source.file" in reason(with_source(file=file))


@pytest.mark.parametrize("digits", ["9" * 20, "9" * 10_000])
def test_a_log_file_number_that_no_state_could_hold_is_malformed(digits: str) -> None:
    assert "source.file" in reason(with_source(file=f"mysql-bin.{digits}"))


def test_a_log_file_name_of_a_megabyte_is_malformed() -> None:
    assert "file" in reason(with_source(file="x" * 1_000_000 + ".000003"))


@pytest.mark.parametrize("pos", [-1, 2**63, 10**30, 1.5, "4", True, []])
def test_a_position_that_is_no_place_in_a_file_is_malformed(pos: Any) -> None:
    assert "pos" in reason(with_source(pos=pos))


@pytest.mark.parametrize("row", [-1, 2**31, 10**30, 0.5, "0"])
def test_a_row_number_out_of_bounds_is_malformed(row: Any) -> None:
    assert "row" in reason(with_source(row=row))


# -- the key ----------------------------------------------------------------------------------------------------------


def test_a_missing_key_is_malformed() -> None:
    assert "key" in reason(GOOD, key=None)


@pytest.mark.parametrize(
    "key",
    [b"", b"order-2", b'"order-1"', b'{"id":"order-1"}', b"Order-1", b"order-1 ", b"order-1\x00", b"\xff"],
    ids=["empty", "another", "quoted", "struct", "case", "blank", "nul", "no-utf-8"],
)
def test_a_key_that_differs_from_the_rows_is_malformed(key: bytes) -> None:
    assert "key" in reason(GOOD, key)
    assert "key" in reason(deleted(order_row()), key)


# -- the columns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", sorted(order_row()))
def test_a_missing_column_is_named(column: str) -> None:
    assert column in reason(without(column, inside="after"))


@pytest.mark.parametrize("column", ["id", "timestamp"])
def test_a_null_in_a_column_that_needs_a_value_is_malformed(column: str) -> None:
    assert column in reason(created(order_row(**{column: None})))


WRONG_NUMBERS = [b'"7"', b"true", b"[]", b"{}", b"7.5", b"7.0", b"1e3", b"9223372036854775808", b"-9223372036854775809"]


@pytest.mark.parametrize("raw", [*WRONG_NUMBERS, b"1" * 400, b"1" * 5_000], ids=lambda raw: raw[:24].decode())
@pytest.mark.parametrize("column", [b"customer_id", b"num_products"])
def test_a_number_of_the_wrong_kind_or_size_is_malformed(column: bytes, raw: bytes) -> None:
    assert column.decode() in reason(with_column(raw, column))


@pytest.mark.parametrize("raw", [b"NaN", b"Infinity", b"-Infinity", b"nan", b"0x10", b"01", b"+1", b"1_000", b"'1'"])
def test_a_number_that_json_does_not_know_is_malformed(raw: bytes) -> None:
    assert reason(with_column(raw))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-01-02",
        "2026-13-01T00:00:00Z",
        "0000-00-00T00:00:00Z",
        "2026-12-31T23:59:60Z",
        "now\x1b[31m",
    ],
)
def test_a_time_that_is_no_time_is_malformed(text: str) -> None:
    assert "timestamp" in reason(created(order_row(timestamp=text)))


@pytest.mark.parametrize("number", [0, 1_767_323_045_000, 1.5])
def test_a_time_as_a_number_is_malformed_since_its_unit_is_unknown(number: float) -> None:
    assert "timestamp" in reason(created(order_row(timestamp=number)))


# -- the reason -------------------------------------------------------------------------------------------------------

HOSTILE = "\x1b[31mred\x1b[0m\r\n[ORDER_TRIGGERED] forged\x00\x07\u2028\u202e" + "x" * 1_000


@pytest.mark.parametrize(
    "value",
    [
        envelope(HOSTILE, after=order_row()),
        with_source(file=HOSTILE),
        as_json({HOSTILE: HOSTILE}),
        created(order_row(timestamp=HOSTILE)),
        created(order_row(HOSTILE)),
    ],
    ids=["op", "file", "names", "time", "id"],
)
def test_a_reason_is_one_short_printable_line_whatever_the_input_holds(value: bytes) -> None:
    assert reason(value)


# -- anything ---------------------------------------------------------------------------------------------------------

_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
anything = st.recursive(_leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
envelope_like = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from("curdtm") | anything,
        "before": st.fixed_dictionaries({}, optional=dict.fromkeys(order_row(), anything)) | anything,
        "after": st.just(order_row()) | anything,
        "source": st.fixed_dictionaries({}, optional={"file": anything, "pos": anything, "row": anything}) | anything,
        "payload": anything,
        "schema": anything,
    },
)


def answers_soundly(key: bytes | None, value: bytes) -> bool:
    answer = decode(key, value)
    if isinstance(answer, Malformed):
        return is_one_printable_line(answer.reason)
    return isinstance(answer, Change | Tombstone)


@given(key=st.none() | st.binary(), value=st.binary())
@example(key=b"", value=b"\xed\xa0\x80")
def test_no_bytes_make_the_decoder_raise(key: bytes | None, value: bytes) -> None:
    assert answers_soundly(key, value)


@given(value=anything | envelope_like)
def test_no_json_makes_the_decoder_raise(value: Any) -> None:
    assert answers_soundly(KEY, as_json(value))
    assert answers_soundly(KEY, as_json(wrap(None) | {"payload": value}))


@given(start=st.integers(0, len(GOOD)), length=st.integers(0, 40), patch=st.binary(max_size=40))
def test_no_damage_to_a_good_value_makes_the_decoder_raise(start: int, length: int, patch: bytes) -> None:
    assert answers_soundly(KEY, GOOD[:start] + patch + GOOD[start + length :])
