"""The warehouse's tables, the rows that changes lead to, and which of two versions of a row wins.

The columns of a table are those of the source, with the key's names replaced, and the warehouse's own:

- `is_deleted`: whether the row was deleted; the other columns then keep the last values.
- `source_position`: position of the newest change as text, by which versions are compared.
- `source_lsn`: place of that change in the source's log, for people; it orders nothing.
- in dimensions, `first_seen_at` and `last_seen_at`: time of the first and of the last change by the source's clock;
- in facts, `event_time`: time of the newest change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from streams.model.change import Change, SignedInt64
from streams.model.position import SNAPSHOT_ROW, Position

DIMENSION: Final = "dimension"

OWN_COLUMNS: Final = {
    DIMENSION: {
        "first_seen_at": "timestamptz",
        "last_seen_at": "timestamptz",
        "is_deleted": "boolean",
        "source_lsn": "bigint",
        "source_position": 'text COLLATE "C"',
    },
    "fact": {
        "event_time": "timestamptz",
        "is_deleted": "boolean",
        "source_lsn": "bigint",
        "source_position": 'text COLLATE "C"',
    },
}
"""The warehouse's own columns with their SQL types, by the kind of table."""


@dataclass(frozen=True)
class _Type:
    """How values of a logical type arrive, in which arrays they are sent, and as what they are stored.

    Numbers have no limits but those of PostgreSQL, so that a source may widen a column.
    """

    wire: Any
    sent: str
    stored: str
    convert: Callable[[Any], Any] | None = None


_INFINITE: Final = {
    "+292278994-08-16Z": "infinity",
    "+5877611-06-21Z": "infinity",
    "+292278994-08-16T23:00:00Z": "infinity",
    "+292269055-12-02Z": "-infinity",
    "-5877611-06-22Z": "-infinity",
    "-292275055-05-16T23:00:00Z": "-infinity",
}
"""What the connector's snapshot and its stream make of PostgreSQL's infinite dates and times."""

_INFINITE_NUMBERS: Final = {"POSITIVE_INFINITY": "Infinity", "NEGATIVE_INFINITY": "-Infinity"}
"""What the connector makes of PostgreSQL's infinite decimals."""


def _time_text(text: str) -> str:
    return _INFINITE.get(text, text)


def _number_text(number: str | float) -> str:
    text = str(number)
    return _INFINITE_NUMBERS.get(text, text)


_TYPES: Final = {
    "uuid": _Type(str, "text", "uuid", str.lower),
    "string": _Type(str, "text", "text"),
    "integer": _Type(SignedInt64, "bigint", "bigint"),
    "bigint": _Type(SignedInt64, "bigint", "bigint"),
    "decimal": _Type(str | int | float, "text", "numeric", _number_text),
    "double": _Type(float | str, "float8", "double precision", float),
    "boolean": _Type(bool | int, "boolean", "boolean", bool),
    "date": _Type(str, "text", "date", _time_text),
    "timestamp": _Type(str, "text", "timestamptz", _time_text),
}


class SourceColumn(Protocol):
    """What the warehouse needs of a column in a dataset's definition."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def nullable(self) -> bool: ...


class Target(Protocol):
    """What a definition says of a table of the warehouse."""

    @property
    def table(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def key(self) -> Sequence[str]: ...


class SourceTable(Protocol):
    """What the warehouse needs of a table in a dataset's definition."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> Sequence[str]: ...
    @property
    def topic_key(self) -> str | None: ...
    @property
    def columns(self) -> Sequence[SourceColumn]: ...
    @property
    def subject(self) -> str | None: ...
    @property
    def warehouse(self) -> Target | None: ...


@dataclass(frozen=True)
class TargetColumn:
    """A column of the warehouse that comes from the source.

    Attributes:
        sent: SQL type in whose arrays the values are sent.
        stored: SQL type of the column.
    """

    name: str
    sent: str
    stored: str


class Row(Struct, gc=False):
    """A version of a row, or several versions of one row folded into one.

    Attributes:
        values: values of the source's columns, in the table's order.
        at_ms: time of the change that the values are from, in milliseconds since 1970.
        first_ms, last_ms: time of the first and of the last change.
    """

    values: tuple[Any, ...]
    is_deleted: bool
    position: Position
    at_ms: int
    first_ms: int
    last_ms: int

    @property
    def is_read(self) -> bool:
        """Whether a snapshot read the row, which says what the row is, but not that it changed."""
        return self.position[3] == SNAPSHOT_ROW

    @property
    def log_place(self) -> int:
        """Place in the log for people: that of the change, or of the last commit before a snapshot's read."""
        return self.position[2] or self.position[1]


def folded(one: Row, other: Row) -> Row:
    """Return the newer of two versions of a row, with the times of both; the order of the arguments does not matter."""
    newer, older = (one, other) if one.position > other.position else (other, one)
    first_ms = min(newer.first_ms, older.first_ms)
    last_ms = newer.last_ms if older.is_read else max(newer.last_ms, older.last_ms)
    return Row(newer.values, newer.is_deleted, newer.position, newer.at_ms, first_ms, last_ms)


@dataclass(frozen=True)
class WarehouseTable:
    """A table of the warehouse, and the source table whose rows it has."""

    source: SourceTable
    target: Target

    @property
    def name(self) -> str:
        """Name in the warehouse."""
        return self.target.table

    @property
    def is_dimension(self) -> bool:
        """Whether the table is a dimension; otherwise it is a fact."""
        return self.target.kind == DIMENSION

    @property
    def has_persons(self) -> bool:
        """Whether the rows are of persons, and can be erased."""
        return self.source.subject is not None

    @cached_property
    def columns(self) -> tuple[TargetColumn, ...]:
        """The columns that come from the source, in its order."""
        names = dict(zip(self.source.key, self.target.key or self.source.key, strict=True))
        types = [(names.get(each.name, each.name), _TYPES[each.type]) for each in self.source.columns]
        return tuple(TargetColumn(name, type_.sent, type_.stored) for name, type_ in types)

    @cached_property
    def own_columns(self) -> dict[str, str]:
        """The warehouse's own columns, with their SQL types."""
        return OWN_COLUMNS[self.target.kind]

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the key's columns in the warehouse."""
        return tuple(self.target.key or self.source.key)

    @cached_property
    def key_indexes(self) -> tuple[int, ...]:
        """Indexes of the key's columns among `columns`."""
        names = [column.name for column in self.source.columns]
        return tuple(names.index(name) for name in self.source.key)

    def key_of(self, row: Row) -> tuple[Any, ...]:
        """Return the key of a row."""
        return tuple(row.values[index] for index in self.key_indexes)

    def record_key(self, source_row: Any) -> str:
        """Return the key that the record of a source row must have."""
        return str(getattr(source_row, self.source.topic_key or self.source.key[0]))

    def struct(self) -> type:
        """Return a struct for the source's rows, with which a decoder refuses values of wrong types."""
        fields: list[Any] = []
        for column in self.source.columns:
            wire = _TYPES[column.type].wire
            is_required = not column.nullable or column.name in self.source.key
            fields.append((column.name, wire) if is_required else (column.name, wire | None, None))
        return msgspec.defstruct(self.source.name, fields, kw_only=True, gc=False)

    def row_maker(self) -> Callable[[Change[Any], int], Row]:
        """Return a function that turns a decoded change, and the time at which it happened, into a row.

        The function raises `ValueError` if a value is not of its column's type.
        """
        types = [_TYPES[column.type].convert for column in self.source.columns]
        converts = [(index, convert) for index, convert in enumerate(types) if convert is not None]

        def make(change: Change[Any], at_ms: int) -> Row:
            values = list(msgspec.structs.astuple(change.row))
            for index, convert in converts:
                if values[index] is not None:
                    values[index] = convert(values[index])
            return Row(tuple(values), change.deleted, change.position, at_ms, at_ms, at_ms)

        return make


def warehouse_tables(tables: Sequence[SourceTable]) -> tuple[WarehouseTable, ...]:
    """Return the tables that the warehouse of a dataset with these source tables has."""
    return tuple(WarehouseTable(table, table.warehouse) for table in tables if table.warehouse is not None)
