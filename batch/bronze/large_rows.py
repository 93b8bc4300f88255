"""Keeps rows of the source that are too large for Java out of a run: they go to the quarantine, with their size.

The database itself measures the rows before it sends them. Only columns whose type allows long values are measured, and
a table without such columns is not asked. Of a row that is larger than `LAKE_ROW_MAX_BYTES`, the run reads the key and
the size alone: the row is counted as unreadable and put aside, its last version in Bronze stays as it is, and all other
rows are landed. It is measured again whenever a run reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.envelope import UNREADABLE
from batch.bronze.table import JDBC
from batch.context import LayerResult, RunContext
from batch.quarantine import quarantine
from config.definition import Column, Table
from config.engines.base import Connection, Engine

BYTES: Final = "_there_bytes"
"""The temporary column with the size of a row, which rows have only if one of them is too large."""

FETCH_ROWS: Final = 10_000
"""Maximum number of rows per fetch; without a limit, the JDBC driver would load the whole table into memory."""

FETCH_BYTES: Final = 64 * 1024 * 1024
"""Maximum number of bytes per fetch, all of which the JDBC driver holds in memory."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the database says about the sizes of the rows that a run is about to read.

    Attributes:
        columns: columns whose values may be long; a row's size is the sum of their bytes.
        largest: size of the largest row.
        allowed: maximum size of a row that is read.
    """

    columns: Sequence[Column] = ()
    largest: int = 0
    allowed: int = 0

    @property
    def has_larger(self) -> bool:
        """Whether there are rows that are too large to be read."""
        return self.largest > self.allowed

    @property
    def fetch_rows(self) -> int:
        """Number of rows per fetch."""
        return max(1, min(FETCH_ROWS, FETCH_BYTES // max(1, min(self.largest, self.allowed))))

    def size(self, engine: Engine) -> str:
        """Return an SQL expression for the size of a row in bytes."""
        return " + ".join(f"COALESCE({engine.size(column)}, 0)" for column in self.columns)


def measured(
    connection: Connection, table: Table, where: str, context: RunContext, *, rest: Sequence[Column] = ()
) -> Sizes:
    """Return the sizes of the source table's rows that satisfy `where`, an SQL condition.

    Args:
        rest: columns that are read besides those of the definition.
    """
    engine = connection.engine
    sizes = Sizes(columns=long_columns(connection, table, rest), allowed=context.settings.row_max_bytes)
    if not sizes.columns:
        return sizes
    largest = f"SELECT COALESCE(MAX({sizes.size(engine)}), 0) FROM {engine.quoted(table.source_name)} WHERE {where}"  # noqa: S608 - the definition's own names
    return replace(sizes, largest=int(connection.value(largest)))


def long_columns(connection: Connection, table: Table, rest: Sequence[Column] = ()) -> list[Column]:
    """Return the columns of a source table whose values may be long; those of the key are always short."""
    kinds = connection.engine.column_types(connection).get(table.source_name, {})
    others = [column for column in (*table.columns, *rest) if column.name not in table.key]
    return [column for column in others if kinds.get(column.source_name) in connection.engine.unbounded]


def smaller(rows: DataFrame, context: RunContext) -> DataFrame:
    """Return the rows that are not too large."""
    if BYTES not in rows.columns:
        return rows
    return rows.where(F.coalesce(BYTES, F.lit(0)) <= context.settings.row_max_bytes)


def put_aside(rows: DataFrame, table: Table, context: RunContext) -> int:
    """Put the keys and sizes of rows that are too large into the quarantine, and return their number."""
    if BYTES not in rows.columns:
        return 0
    allowed = context.settings.row_max_bytes
    large = rows.where(F.col(BYTES) > allowed)
    size = F.format_number(BYTES, 0)
    reason = F.concat(F.lit("the row has "), size, F.lit(f" bytes, more than LAKE_ROW_MAX_BYTES ({allowed:,})"))
    entries = large.select(
        F.lit(table.name).alias("table"),
        F.to_json(F.struct(*table.key), {"ignoreNullFields": "false"}).alias("key"),
        F.lit(UNREADABLE).alias("rule"),
        F.lit("quarantine").alias("action"),
        F.to_json(F.struct(reason.alias("reason"), *table.key)).alias("row"),
        # Without a sequence, so that a row is put aside once and not by each run that reads it.
        F.lit(None).cast("string").alias("_sequence"),
        F.lit(JDBC).alias("_origin"),
    )
    count = large.count()
    if count:
        quarantine(entries, context)
    return count


def with_put_aside(result: LayerResult, count: int, context: RunContext) -> LayerResult:
    """Return the result of a table, `count` of whose rows were too large."""
    if not count:
        return result
    allowed = context.settings.row_max_bytes
    note = f"rows of more than LAKE_ROW_MAX_BYTES ({allowed:,} bytes), put into the quarantine: {count:,}"
    rejected = {**result.rejected, UNREADABLE: result.rejected.get(UNREADABLE, 0) + count}
    return replace(result, rejected=rejected, note="; ".join(filter(None, (result.note, note))))
