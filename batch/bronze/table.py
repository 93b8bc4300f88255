"""Columns, table properties, joins and results that both feeds of Bronze share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze import progress as bronze_progress
from batch.bronze.rest import REST
from batch.context import LayerResult, RunContext
from batch.delta import sizes
from batch.delta.rows import Rows
from batch.delta.table import CHANGE_FEED, STATISTICS, LakeTable
from batch.errors import BatchError
from batch.storage import canonical
from config.definition import Table

FEED: Final = "millrace.feed"
"""The table property that names the feed from which the table is filled."""

PARTITIONS: Final = ("year", "month", "day")
"""Partition columns of a Bronze table: the UTC day on which the run that landed the row started."""

JDBC: Final = "jdbc"
"""The value of `_origin` for rows that were read directly from the source database."""

_UNDER_WAY: Final = frozenset(
    {"_problem", "_is_tombstone", "_names", "_key", "_value", "_row", "_more", "_violations", "_deleted", "_rank"}
)
"""Names of temporary columns that exist only while rows are processed for Bronze and Silver."""

_PREFIXES: Final = ("_there_", "_asked_")
"""Beginnings of the names of temporary columns in joins."""

_NAMES_MAX: Final = 20
"""Maximum number of columns that a description of drift names."""

OF_THE_CHANGE_FEED: Final = ("_change_type", "_commit_version", "_commit_timestamp")
"""Columns that Delta adds to the rows of a change data feed."""

_META: Final = ("_op", "_sequence", "_committed_at", "_landed_at", "_run_id", "_row_hash", "_origin", REST)


def bronze_table(table: Table, context: RunContext) -> LakeTable:
    """Return the Bronze table of a source table, after checking its feed and its column names.

    Raises:
        BatchError: a column has a name that the lake reserves, or the table was filled from another feed than the
            definition names and this run is not a rebuild.
    """
    names = {name.lower() for name in table.column_names}
    taken = sorted((_UNDER_WAY | {*PARTITIONS, *_META, *OF_THE_CHANGE_FEED}) & names)
    taken += sorted(name for name in names if name.startswith(_PREFIXES))
    if taken:
        raise table_error(
            table, f"column names reserved by the lake: {', '.join(taken)}; rename them in a view of the source"
        )
    found = context.table("bronze", table.name)
    if is_of_other_feed(found, table) and not context.is_rebuild:
        raise table_error(
            table,
            f"the table was filled from the feed {feed_of(found)!r}, but the definition names {table.feed!r}: restore "
            f"the feed in the definition, or run `millrace lake rebuild --table {table.name}`",
        )
    return found


def is_of_other_feed(bronze: LakeTable, table: Table) -> bool:
    """Whether the table exists and was filled from another feed than the definition names."""
    return feed_of(bronze) not in (None, table.feed)


def feed_of(bronze: LakeTable) -> str | None:
    """Return the feed from which the table was filled; None if it does not exist.

    The progress decides, because it is committed with the rows: a rebuild that fails may have set the property alone.
    """
    return bronze_progress.feed(bronze.progress()) or bronze.property(FEED)


def stamped(rows: DataFrame, table: Table, context: RunContext) -> DataFrame:
    """Add the columns that Bronze itself fills: landing time, run id, row hash and partition.

    Args:
        rows: rows that have the table's columns, as strings in canonical form, and `_op`, `_sequence`,
            `_committed_at` and `_origin`; without `_rest`, it is NULL.
    """
    day = context.started_at
    return rows.select(
        *table.column_names,
        "_op",
        "_sequence",
        "_committed_at",
        F.lit(context.started_at).alias("_landed_at"),
        F.lit(context.run_id).alias("_run_id"),
        F.expr(canonical.row_hash(table.column_names)).alias("_row_hash"),
        "_origin",
        (F.col(REST) if REST in rows.columns else F.lit(None).cast("string")).alias(REST),
        F.lit(day.year).alias("year"),
        F.lit(day.month).alias("month"),
        F.lit(day.day).alias("day"),
    )


def in_files(rows: DataFrame, table: Table, stored_bytes: int) -> DataFrame:
    """Distribute rows of about this many stored bytes, which one task reads, over the files that suit their volume."""
    count = sizes.output_files(stored_bytes)
    return rows.coalesce(1) if count == 1 else rows.repartition(count, *table.key)


def properties(table: Table) -> dict[str, str]:
    """Return the table properties with which a Bronze table is created."""
    return {FEED: table.feed, **CHANGE_FEED, STATISTICS: "_sequence,_run_id,_landed_at"}


def deduplicated(rows: DataFrame, identity: Sequence[str], count: int) -> DataFrame:
    """Keep a single row of each group that agrees in the columns `identity`; `count` is the number of all rows."""
    # Usually all rows differ; if there are many, a job that proves this takes less time than shuffling all of them.
    if not sizes.fits_driver(count) and Rows.of(rows).is_proven_distinct_by(identity):
        return rows
    return rows.dropDuplicates(list(identity))


def anti_joined(rows: DataFrame, there: DataFrame, on: Sequence[str]) -> DataFrame:
    """Return the rows that match no row of `there` in the columns `on`; NULL matches NULL."""
    others = there.select(*(F.col(name).alias(f"_there_{name}") for name in on))
    same = [F.col(name).eqNullSafe(F.col(f"_there_{name}")) for name in on]
    return rows.join(others, same, "left_anti")


def since(table: LakeTable, sequence: str, *, columns: Sequence[str]) -> DataFrame:
    """Return the given columns of all rows whose sequence is `sequence` or higher."""
    return table.at().read(columns=columns, where=f"_sequence >= '{sequence}'").frame


def drift(table: Table, others: Sequence[str], missing: Sequence[str]) -> list[str]:
    """Describe the differences between the columns of the source and of the definition.

    Args:
        others: columns that only the source has; if the definition gets one, old rows have its values too.
        missing: columns that only the definition has; new rows have NULL there.
    """
    where = f"kept in {REST} of Bronze" if table.feed == "changes" else "not read"
    cure = "add them to the definition to have them in Silver, in old rows too"
    found = [f"columns that the definition lacks, {where} ({cure}): {_listed(others)}"] if others else []
    return found + ([f"columns that the source lacks, NULL in new rows: {_listed(missing)}"] if missing else [])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_MAX:,} more" if len(names) > _NAMES_MAX else ""
    return f"{', '.join(names[:_NAMES_MAX])}{more}"


def unchanged(found: LakeTable, table: Table, progress: dict[str, object], *, rows_in: int = 0) -> LayerResult:
    """Return the layer's result for a table to which nothing had to be written."""
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
    """Build a `BatchError` that names the Bronze table."""
    return BatchError(message, layer="bronze", table=table.name)
