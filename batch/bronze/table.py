"""Columns, keys and results that every Bronze table shares, from either feed."""

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
"""The property that says which feed a table is filled from."""

PARTITIONS: Final = ("year", "month", "day")
"""The UTC day of landing."""

MOST_FILES: Final = 2
"""Files of one run: small ones make every later read slow."""

JDBC: Final = "jdbc"
"""The origin (`_origin`) of rows that were read from the source itself."""

_UNDER_WAY: Final = frozenset(
    {"_problem", "_is_tombstone", "_names", "_key", "_value", "_row", "_violations", "_deleted", "_rank"}
)
"""Extra columns of rows on their way to Bronze and Silver."""

_META: Final = ("_op", "_sequence", "_committed_at", "_landed_at", "_run_id", "_row_hash", "_origin")


def bronze_table(table: Table, context: RunContext) -> LakeTable:
    """The table, if it is filled from the feed that the definition names.

    Raises:
        BatchError: it is filled from the other feed and this is not a rebuild, or a column has a name that the lake
            reserves.
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
            f"filled from the feed {feed!r}, but the definition says {table.feed!r}: change it back, or run "
            f"`python -m batch rebuild --table {table.name}`",
        )
    return found


def is_of_other_feed(bronze: LakeTable, table: Table) -> bool:
    """Whether the table is there and filled from another feed than the definition names."""
    return bronze.property(FEED) not in (None, table.feed)


def stamped(rows: DataFrame, table: Table, context: RunContext) -> DataFrame:
    """Rows with the columns' canonical texts, `_op`, `_sequence`, `_committed_at`, `_origin`, as Bronze keeps them."""
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
    """Of a Bronze table."""
    return {FEED: table.feed, **CHANGE_FEED, STATISTICS: "_sequence,_run_id,_landed_at"}


def deduplicated(rows: DataFrame, identity: Sequence[str], count: int) -> DataFrame:
    """The rows (`count` of them), of those that are the same by `identity` one.

    Many rows mostly all differ. Counting their distinct hashes shows it, and costs a fraction of a shuffle of all rows.
    """
    if not sizes.fits_driver(count) and rows.select(F.xxhash64(*identity)).distinct().count() == count:
        return rows
    return rows.dropDuplicates(list(identity))


def anti_joined(rows: DataFrame, there: DataFrame, on: Sequence[str]) -> DataFrame:
    """The rows that are not in `there` yet, by columns that are the same; NULL is the same as NULL."""
    others = there.select(*(F.col(name).alias(f"_there_{name}") for name in on))
    same = [F.col(name).eqNullSafe(F.col(f"_there_{name}")) for name in on]
    return rows.join(others, same, "left_anti")


def since(table: LakeTable, sequence: str, *, columns: Sequence[str]) -> DataFrame:
    """The rows from a sequence on, with these columns."""
    return table.at().read(columns=columns, where=f"_sequence >= '{sequence}'").frame


def unchanged(found: LakeTable, table: Table, progress: dict[str, object], *, rows_in: int = 0) -> LayerResult:
    """The result when there was nothing to write."""
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
    """A `BatchError` that names this Bronze table."""
    return BatchError(message, layer="bronze", table=table.name)
