"""Columns, properties, joins and results that Bronze tables of both feeds have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.context import LayerResult, RunContext
from batch.delta import sizes
from batch.delta.table import CHANGE_FEED, STATISTICS, LakeTable
from batch.errors import BatchError
from batch.storage import canonical
from config.definition import Column, LogicalType, Table

FEED: Final = "millrace.feed"
"""The table property with the feed that the table is filled from."""

PARTITIONS: Final = ("year", "month", "day")
"""Partition columns: the UTC day of landing."""

MOST_FILES: Final = 2
"""Number of files that one run may add: many small files slow down every later read."""

JDBC: Final = "jdbc"
"""The origin (`_origin`) of rows that were read from the source itself."""

_UNDER_WAY: Final = frozenset(
    {"_problem", "_is_tombstone", "_names", "_key", "_value", "_row", "_violations", "_deleted", "_rank"}
)
"""Temporary columns that processing adds to rows on their way to Bronze and Silver."""

_META: Final = ("_op", "_sequence", "_committed_at", "_landed_at", "_run_id", "_row_hash", "_origin")


def bronze_table(table: Table, context: RunContext) -> LakeTable:
    """Return the Bronze table, after checking its feed and its column names.

    Raises:
        BatchError: the table was filled from another feed than the definition names and this is not a rebuild, or a
            column has a name that the lake reserves.
    """
    taken = sorted((_UNDER_WAY | {*PARTITIONS, *_META}) & {name.lower() for name in table.column_names})
    if taken:
        raise table_error(
            table, f"column names reserved by the lake: {', '.join(taken)}; rename them in a view of the source"
        )
    found = context.table("bronze", table.name)
    if is_of_other_feed(found, table) and not context.is_rebuild:
        feed = found.property(FEED)
        raise table_error(
            table,
            f"filled from the feed {feed!r}, but the definition names {table.feed!r}: restore {feed!r} there, or run "
            f"`python -m batch rebuild --table {table.name}`",
        )
    return found


def is_of_other_feed(bronze: LakeTable, table: Table) -> bool:
    """Whether the table exists and was filled from another feed than the definition names."""
    return bronze.property(FEED) not in (None, table.feed)


def stamped(rows: DataFrame, table: Table, context: RunContext) -> DataFrame:
    """Add Bronze's own columns: the run, the row's hash and the partition.

    Args:
        rows: rows that have the table's columns, as strings in canonical form, and `_op`, `_sequence`,
            `_committed_at` and `_origin`.
    """
    day = context.started_at
    texts = [Column(name=name, type=LogicalType.STRING) for name in table.column_names]
    return rows.select(
        *table.column_names,
        "_op",
        "_sequence",
        "_committed_at",
        F.lit(context.started_at).alias("_landed_at"),
        F.lit(context.run_id).alias("_run_id"),
        F.md5(F.expr(canonical.spark_text(texts))).alias("_row_hash"),
        "_origin",
        F.lit(day.year).alias("year"),
        F.lit(day.month).alias("month"),
        F.lit(day.day).alias("day"),
    )


def properties(table: Table) -> dict[str, str]:
    """Return the properties of a Bronze table."""
    return {FEED: table.feed, **CHANGE_FEED, STATISTICS: "_sequence,_run_id,_landed_at"}


def deduplicated(rows: DataFrame, identity: Sequence[str], count: int) -> DataFrame:
    """Keep one of all rows that agree in the columns `identity`; `count` is the number of rows.

    Usually all rows differ. If there are many, counting their distinct hashes proves that, at a fraction of the cost of
    shuffling all rows.
    """
    if not sizes.fits_driver(count) and rows.select(F.xxhash64(*identity)).distinct().count() == count:
        return rows
    return rows.dropDuplicates(list(identity))


def anti_joined(rows: DataFrame, there: DataFrame, on: Sequence[str]) -> DataFrame:
    """Return the rows that agree with no row of `there` in the columns `on`; NULL equals NULL."""
    others = there.select(*(F.col(name).alias(f"_there_{name}") for name in on))
    same = [F.col(name).eqNullSafe(F.col(f"_there_{name}")) for name in on]
    return rows.join(others, same, "left_anti")


def since(table: LakeTable, sequence: str, *, columns: Sequence[str]) -> DataFrame:
    """Return some columns of the rows that have this sequence or a higher one."""
    return table.at().read(columns=columns, where=f"_sequence >= '{sequence}'").frame


def unchanged(found: LakeTable, table: Table, progress: dict[str, object], *, rows_in: int = 0) -> LayerResult:
    """Return the result of a table for which there was nothing to write."""
    version = found.version()
    return LayerResult(
        layer="bronze",
        table=table.name,
        version=version if version >= 0 else None,
        rows_in=rows_in,
        progress=progress,
        is_unchanged=True,
    )


def table_error(table: Table, message: str) -> BatchError:
    """Return a `BatchError` that names this Bronze table."""
    return BatchError(message, layer="bronze", table=table.name)
