"""Reads the rows of a source table for an export, straight from the database, in parts by ranges of the key.

The ranges are chosen when the export begins, and kept with it: so an export that was interrupted goes on with the same
ones. All parts that one command reads are of one consistent snapshot of the database; those that a later one adds are
of a later state.

Values are read as canonical text (`batch.storage.canonical`) and converted to the types that Silver has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from batch.console.conditions import Comparison, converted
from batch.errors import BatchError
from batch.storage.canonical import decimal_digits
from config.definition import Column, LogicalType, Table
from config.engines.base import Connection

PART_ROWS: Final = 50_000
"""Number of rows of a part when the ranges are chosen."""

KeyTexts = list[str]
"""The canonical texts of a row's key."""

_TIME: Final = "%Y-%m-%d %H:%M:%S.%f"

_ARROW: Final = {
    LogicalType.INTEGER: pa.int32(),
    LogicalType.BIGINT: pa.int64(),
    LogicalType.DOUBLE: pa.float64(),
    LogicalType.BOOLEAN: pa.bool_(),
    LogicalType.DATE: pa.date32(),
    LogicalType.TIMESTAMP: pa.timestamp("us", "UTC"),
}
"""Arrow types of values; others are texts."""

_PARSERS: Final[dict[LogicalType, Callable[[str], Any]]] = {
    LogicalType.INTEGER: int,
    LogicalType.BIGINT: int,
    LogicalType.DECIMAL: Decimal,
    LogicalType.DOUBLE: float,
    LogicalType.BOOLEAN: lambda text: text == "1",
    LogicalType.DATE: date.fromisoformat,
    LogicalType.TIMESTAMP: lambda text: datetime.strptime(text, _TIME).replace(tzinfo=UTC),
}

_EXACT: Final = frozenset(_PARSERS) - {LogicalType.DOUBLE, LogicalType.BOOLEAN}
"""Types that databases and Arrow compare alike; of others, only Arrow's comparison counts."""


def source_schema(table: Table) -> pa.Schema:
    """Return the columns of a source table with their Arrow types."""
    return pa.schema([(column.name, _arrow_type(column)) for column in table.columns])


def key_ranges(connection: Connection, table: Table, *, part_rows: int = PART_ROWS) -> list[KeyTexts]:
    """Return the keys at which the parts of a table end, in order; the last part has none."""
    quoted = connection.quoted
    keys = _key_columns(table)
    texts = ", ".join(f"{connection.engine.value(column)} AS {quoted(column.source_name)}" for column in keys)
    order = ", ".join(quoted(column.source_name) for column in keys)
    numbered = f"SELECT {texts}, ROW_NUMBER() OVER (ORDER BY {order}) AS place FROM {quoted(table.source_name)}"  # noqa: S608 - the definition's own names
    ends = f"SELECT {order} FROM ({numbered}) AS numbered WHERE MOD(place, {part_rows}) = 0 ORDER BY place"  # noqa: S608
    return [list(row) for row in connection.rows(ends) if None not in row]


@dataclass(frozen=True, kw_only=True)
class SourcePart:
    """The rows of a source table from behind one key up to another.

    Attributes:
        after, until: keys before the first row, and of the last row; None at the ends of the table.
        comparisons: what the export asks for; the database leaves out rows by those that it compares as Arrow does.
    """

    connection: Connection
    table: Table
    after: KeyTexts | None
    until: KeyTexts | None
    comparisons: Sequence[Comparison] = ()

    def to_table(self, columns: list[str], filter: Any = None) -> pa.Table:
        """Return the rows that satisfy `filter`, an expression of Arrow (None: all), with the named columns.

        Raises:
            BatchError: a value does not fit into the type of its column; the message names the row.
        """
        found = self.connection.rows(self.query())
        by_column = list(zip(*found, strict=True)) or [() for _ in self.table.columns]
        arrays = [
            self._array(column, texts, by_column) for column, texts in zip(self.table.columns, by_column, strict=True)
        ]
        rows = pa.Table.from_arrays(arrays, schema=source_schema(self.table))
        return (rows if filter is None else rows.filter(filter)).select(columns)

    def query(self) -> str:
        """Return the query for the part's rows, with every value as a literal of the database."""
        engine, quoted = self.connection.engine, self.connection.quoted
        chosen = ", ".join(engine.value(column) for column in self.table.columns)
        keys = [quoted(column.source_name) for column in _key_columns(self.table)]
        order = ", ".join(keys)
        conditions = []
        for sign, key in ((">", self.after), ("<=", self.until)):
            if key is not None:
                limit = f"({order}) {sign} ({', '.join(map(engine.literal, key))})"
                # The first part has the rows with NULL in their key too, which no comparison finds.
                lacks = "".join(f" OR {name} IS NULL" for name in keys) if self.after is None else ""
                conditions.append(f"({limit}{lacks})")
        for each in self.comparisons:
            column = self.table.column(each.column)
            name = quoted(column.source_name)
            if each.operator is None:
                conditions.append(f"{name} IS {'' if each.is_null else 'NOT '}NULL")
            elif column.type in _EXACT:
                value = converted(each.value, _arrow_type(column)).as_py()
                text = f"{value:{_TIME}}" if column.type is LogicalType.TIMESTAMP else str(value)
                conditions.append(f"{name} {each.operator} {engine.literal(text)}")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT {chosen} FROM {quoted(self.table.source_name)}{where} ORDER BY {order}"  # noqa: S608

    def _array(self, column: Column, texts: Sequence[Any], by_column: Sequence[Sequence[Any]]) -> pa.Array:
        parse = _PARSERS.get(column.type, str)
        kind, values = _arrow_type(column), []
        for number, text in enumerate(texts):
            try:
                value = None if text is None else parse(text)
                values.append(pa.scalar(value, kind).as_py() if column.type is LogicalType.DECIMAL else value)
            except (ValueError, ArithmeticError, pa.ArrowException):
                place = {each.name: found[number] for each, found in zip(self.table.columns, by_column, strict=True)}
                key = {name: place[name] for name in self.table.key}
                text = f"column {column.name} of the row with key {key} has a value that is no {kind}"
                raise BatchError(f"{text}: leave the row out with --where", table=self.table.name) from None
        return pa.array(values, kind)


def parts_of(
    connection: Connection, table: Table, ranges: Sequence[KeyTexts], comparisons: Sequence[Comparison]
) -> list[SourcePart]:
    """Return the parts of a source table that end at these keys, and the one behind them."""
    starts: list[KeyTexts | None] = [None, *ranges]
    ends: list[KeyTexts | None] = [*ranges, None]
    return [
        SourcePart(connection=connection, table=table, after=after, until=until, comparisons=comparisons)
        for after, until in zip(starts, ends, strict=True)
    ]


def _key_columns(table: Table) -> list[Column]:
    return [table.column(name) for name in table.key]


def _arrow_type(column: Column) -> pa.DataType:
    if column.type is LogicalType.DECIMAL:
        return pa.decimal128(*decimal_digits(column))
    return _ARROW.get(column.type, pa.string())
