"""Decoding of Debezium envelopes: each becomes a `Change`, a `Tombstone` or a `Malformed`; nothing is ever raised.

An envelope may be inside the converter's `schema` wrapper. Unknown fields are ignored; required ones must exist and
have the right types. Operations: `c` create, `u` update, `d` delete, `r` snapshot read; every other operation (`t`
truncate, `m` message) makes a record malformed, because it names no row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

from streams.model.position import SNAPSHOT_ROW, Position, binlog_file_number

Row = TypeVar("Row")

SignedInt64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer that every part of the system can hold."""

LATEST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""

UNAVAILABLE: Final = b"__debezium_unavailable_value"
"""The connector's placeholder for a text that the source did not log. It is not a value, so it cannot be a key."""

_UNSET = msgspec.UNSET


class Change(Struct, Generic[Row], gc=False):
    """One change of one source row.

    Attributes:
        key: the record's key; its bytes decide the partition.
        row: the row after the change, or before it if the change deletes the row.
        deleted: whether the change deletes the row.
        position: position of the change in the source's log.
        at_ms: time of its commit by the source's clock, in milliseconds since 1970; 0 if unknown.
    """

    key: bytes
    row: Row
    deleted: bool
    position: Position
    at_ms: int = 0


class Tombstone(Struct, gc=False):
    """A record without a value, compaction's mark for a deleted key. It changes no state."""


class Malformed(Struct, gc=False):
    """An unreadable record, and the reason why it is unreadable."""

    reason: str


class _Source(Struct, gc=False):
    file: Annotated[str, Meta(max_length=512)] | None = None  # MySQL's own limit of a path
    pos: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    row: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    snapshot: str | bool | None = None
    ts_ms: Annotated[int, Meta(ge=0, le=LATEST_MS)] | None = None


class _Envelope(Struct, Generic[Row], gc=False):
    op: str
    source: _Source
    before: Row | None = None
    after: Row | None = None


class _Wire(Struct, Generic[Row], gc=False):
    """The envelope's fields and the wrapper's `payload` in one struct, so that both forms are decoded in one pass."""

    op: str | msgspec.UnsetType = _UNSET
    source: _Source | msgspec.UnsetType = _UNSET
    before: Row | None = None
    after: Row | None = None
    payload: _Envelope[Row] | msgspec.UnsetType | None = _UNSET


ChangeDecoder = Callable[[bytes | None, bytes | None], "Change[Any] | Tombstone | Malformed"]


def change_decoder(row: type, *, key_of: Callable[[Any], str], epoch: int = 0) -> ChangeDecoder:
    """Make the function that decodes `(key, value)` of one table's change topic.

    Args:
        row: struct of the table's columns; those without a default are required.
        key_of: returns the text that the record's key must equal, given the row.
        epoch: epoch of the source's log, the first part of every position.
    """
    decode_wire = msgspec.json.Decoder(_Wire[row]).decode  # type: ignore[valid-type]

    def decode(key: bytes | None, value: bytes | None) -> Change[Any] | Tombstone | Malformed:
        if value is None:
            return Tombstone()
        try:
            wire = decode_wire(value)
            if wire.payload is _UNSET:
                return _change(key, wire, key_of, epoch)
            if wire.op is not _UNSET:
                raise ValueError("payload: occurs together with an envelope outside of it")
            if wire.payload is None:
                return Tombstone()
            return _change(key, wire.payload, key_of, epoch)
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            return Malformed(_one_line(error))

    return decode


def _change(key: bytes | None, envelope: Any, key_of: Callable[[Any], str], epoch: int) -> Change[Any]:
    op = envelope.op
    deleted = op == "d"
    if op is _UNSET:
        raise ValueError("op: is missing")
    if op not in ("c", "u", "r", "d"):
        raise ValueError(f"op: {op[:20]!r} is not a change of a row (c, u, d or r)")
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
        raise ValueError("key: is the connector's placeholder for an unavailable value")
    source = envelope.source
    return Change(key, row, deleted, _position(source, op, epoch), source.ts_ms or 0)


def _position(source: _Source, op: str, epoch: int) -> Position:
    if source.file is None or source.pos is None:
        raise ValueError("source: has no log position (file, pos)")
    row = SNAPSHOT_ROW if op == "r" else source.row
    return (epoch, binlog_file_number(source.file), source.pos, 0 if row is None else row)


def _one_line(error: BaseException) -> str:
    """Text of an error without line breaks or control characters, for a header and a log line."""
    text = str(error) or type(error).__name__
    return "".join(c if c.isprintable() else " " for c in text)[:300]
