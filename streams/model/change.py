"""Decoder of Debezium change envelopes: returns a `Change`, a `Tombstone` or a `Malformed`, and never raises.

An envelope may be wrapped in the JSON converter's object with `schema` and `payload`. Unknown fields are ignored;
required fields must be present and have the right types. Operations: `c` create, `u` update, `d` delete, `r` snapshot
read. A record with any other operation (`t` truncate, `m` message) is malformed, because it does not describe a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

from streams.model.left_out import LeftOut
from streams.model.position import SNAPSHOT_ROW, Position, binlog_file_number, epoch_of, wal_place

Row = TypeVar("Row")

SignedInt64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A signed 64-bit integer, which every part of the system can store."""

MAX_ID_LENGTH: Final = 255

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
"""Id of a row as text. Ids become keys of states, locks and caches, so their length is limited."""

LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999 (UTC), in milliseconds since 1970."""

UNAVAILABLE: Final = b"__debezium_unavailable_value"
"""Debezium's placeholder for a column value that the database did not log, as PostgreSQL does with large values that a
change left alone, unless the table's replica identity is FULL. It is never a value."""

_PLACEHOLDERS: Final = (UNAVAILABLE.decode(), UNAVAILABLE.hex())
_HEX_UNAVAILABLE: Final = UNAVAILABLE.hex().encode()
_UNAVAILABLE_REASON: Final = (
    "the database did not log this value: run ALTER TABLE … REPLICA IDENTITY FULL, then read the table again"
)

_UNSET = msgspec.UNSET


class Change(Struct, Generic[Row], gc=False):
    """A decoded change of one source row.

    Attributes:
        key: key of the Kafka record; its bytes determine the partition.
        row: the row after the change, or before it if the change deletes the row.
        deleted: whether the change deletes the row.
        position: position of the change in the source database's log.
        at_ms: time of the change by the source database's clock, in milliseconds since 1970; 0 if unknown.
        server_id: id of the database server that logged the change; 0 if unknown, as for rows read by a snapshot.
    """

    key: bytes
    row: Row
    deleted: bool
    position: Position
    at_ms: int = 0
    server_id: int = 0


class Tombstone(Struct, gc=False):
    """A record without a value, which tells log compaction that the key was deleted. It changes no state."""


class Malformed(Struct, gc=False):
    """A record that cannot be decoded, and the reason why."""

    reason: str


class _Source(Struct, gc=False):
    # What says where a record comes from never makes the record unreadable: of another type, it counts as missing.
    name: Any = None
    server_id: Any = None
    file: Annotated[str, Meta(max_length=512)] | None = None  # MySQL's limit for a path
    pos: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    row: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    sequence: Any = None
    snapshot: str | bool | None = None
    ts_ms: Annotated[int, Meta(ge=0, le=LATEST_MS)] | None = None


class _Envelope(Struct, Generic[Row], gc=False):
    op: str
    source: _Source
    before: Row | None = None
    after: Row | None = None


class _Wire(Struct, Generic[Row], gc=False):
    """Fields of a bare envelope and of the converter's wrapper in one struct, so that one pass decodes either form."""

    op: str | msgspec.UnsetType = _UNSET
    source: _Source | msgspec.UnsetType = _UNSET
    before: Row | None = None
    after: Row | None = None
    payload: _Envelope[Row] | msgspec.UnsetType | None = _UNSET


ChangeDecoder = Callable[[bytes | None, bytes | None], "Change[Any] | Tombstone | Malformed"]


def change_decoder(row: type, *, key_of: Callable[[Any], str]) -> ChangeDecoder:
    """Return a function that decodes the key and value of a record from one table's change topic.

    Args:
        row: struct with the table's columns, of which those without a default are required; or `dict[str, Any]`.
        key_of: function that returns the expected key of the record, as text, for a given row.
    """
    decode_wire = msgspec.json.Decoder(_Wire[row]).decode  # type: ignore[valid-type]

    def decode(key: bytes | None, value: bytes | None) -> Change[Any] | Tombstone | Malformed:
        if value is None:
            return Tombstone()
        try:
            wire = decode_wire(value)
            if wire.payload is _UNSET:
                return _change(key, wire, key_of, value)
            if wire.op is not _UNSET:
                raise ValueError("payload: must not occur together with a top-level `op`")
            if wire.payload is None:
                return Tombstone()
            return _change(key, wire.payload, key_of, value)
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            return Malformed(_reason(value, error))

    return decode


def _change(key: bytes | None, envelope: Any, key_of: Callable[[Any], str], value: bytes) -> Change[Any]:
    op = envelope.op
    deleted = op == "d"
    if op is _UNSET:
        raise ValueError("op: is missing")
    if op not in ("c", "u", "r", "d"):
        raise ValueError(f"op: must be c, u, d or r, not {op[:20]!r}")
    row = envelope.before if deleted else envelope.after
    if row is None:
        raise ValueError(f"{'before' if deleted else 'after'}: is missing or null although op is {op}")
    if envelope.source is _UNSET:
        raise ValueError("source: is missing")
    if key is None:
        raise ValueError("key: is missing")
    if key != key_of(row).encode():
        raise ValueError("key: differs from the row's key column; check the connector's key transforms")
    if key == UNAVAILABLE:
        raise ValueError("key: is Debezium's placeholder for an unavailable value")
    if UNAVAILABLE in value or _HEX_UNAVAILABLE in value:
        _require_available(row)
    source = envelope.source
    server_id = source.server_id if type(source.server_id) is int else 0
    return Change(key, row, deleted, _position(source, op), source.ts_ms or 0, server_id)


def _position(source: _Source, op: str) -> Position:
    row = SNAPSHOT_ROW if op == "r" else source.row or 0
    if source.file is None and source.sequence is not None:  # PostgreSQL
        commit, change = wal_place(source.sequence, is_read=op == "r")
        return (epoch_of(source.name), commit, change, row)
    if source.file is None or source.pos is None:
        raise ValueError("source: has no log position (file and pos, or sequence)")
    return (epoch_of(source.name), binlog_file_number(source.file), source.pos, row)


def _require_available(row: Any) -> None:
    """Raise `ValueError` if a column has the placeholder for a value that the database did not log."""
    for name, value in (row if isinstance(row, dict) else msgspec.structs.asdict(row)).items():
        if value in _PLACEHOLDERS:
            raise ValueError(f"{name}: {_UNAVAILABLE_REASON}")


def _reason(value: bytes, error: BaseException) -> str:
    if isinstance(value, LeftOut):
        return _one_line(value.reason)
    text = str(error) or type(error).__name__
    if text == "Input data was truncated":  # msgspec's message, also for an empty value
        text = "value: is empty or truncated JSON"
    return _one_line(text)


def _one_line(text: str) -> str:
    """Return a text on one line, without control characters, for a header or a log line."""
    return "".join(c if c.isprintable() else " " for c in text)[:300]
