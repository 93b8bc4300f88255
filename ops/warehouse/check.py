"""Compare the warehouse with its source in SQL: the number of rows of each table, and a checksum over all columns.

The checksum is the sum of a hash of each row as text, which both servers compute, so that no rows are transferred.
Rows that the warehouse keeps as deleted do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from config.engines.base import Connection
from streams.model.warehouse import TargetColumn, WarehouseTable
from tables.warehouse.schema import quoted

_CONTENT: Final = """
    SELECT count(*), coalesce(sum(('x' || left(md5(ROW({columns})::text), 15))::bit(60)::bigint), 0) FROM {table}
"""


@dataclass(frozen=True)
class Content:
    """What a table holds: its number of rows, and their checksum."""

    rows: int
    checksum: int

    @property
    def text(self) -> str:
        """The checksum, short enough to be compared by eye."""
        return f"{self.checksum % 2**32:08x}"


@dataclass(frozen=True)
class Comparison:
    """A table of the warehouse beside that of the source."""

    table: str
    source: Content
    warehouse: Content

    @property
    def is_equal(self) -> bool:
        """Whether both have the same rows."""
        return self.source == self.warehouse


def compared(source: Connection, warehouse: Connection, tables: Sequence[WarehouseTable]) -> list[Comparison]:
    """Compare tables of the warehouse with those of a source on PostgreSQL, whose changes may not be there yet."""
    return [
        Comparison(
            table.name,
            _content(source, table.source.name, table, [column.name for column in table.source.columns]),
            _content(warehouse, table.name, table, [column.name for column in table.columns], kept=True),
        )
        for table in tables
    ]


def _content(
    connection: Connection, name: str, table: WarehouseTable, columns: Sequence[str], *, kept: bool = False
) -> Content:
    texts = (_value(column, found) for column, found in zip(columns, table.columns, strict=True))
    query = _CONTENT.format(columns=", ".join(texts), table=quoted(name))
    [(rows, checksum)] = connection.rows(query + (" WHERE NOT is_deleted" if kept else ""))
    connection.rollback()
    return Content(rows, int(checksum))


def _value(name: str, column: TargetColumn) -> str:
    """Return the expression for a column's value, which is the same on both sides although the types differ."""
    found = f"{quoted(name)}::{column.stored}"
    return f"trim_scale({found})" if column.stored == "numeric" else found
