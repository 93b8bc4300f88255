"""Reads selected rows from the source again and appends them to Bronze, to backfill or repair what a feed missed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.jdbc_rows import check_columns, columns_to_keep, read_source
from batch.bronze.large_rows import Sizes, measured, put_aside, smaller, with_put_aside
from batch.bronze.rest import with_kept
from batch.bronze.sequence import epoch_in, jdbc_sequence, reading_sequence
from batch.bronze.table import (
    JDBC,
    PARTITIONS,
    anti_joined,
    bronze_table,
    in_files,
    properties,
    since,
    stamped,
    table_error,
    unchanged,
)
from batch.bronze.windows import find_anchor, has_time_cursor, next_sequence, source_cursor, source_of
from batch.context import LayerResult, RunContext
from batch.delta import sizes
from batch.delta.table import LakeTable
from batch.storage.canonical import time_text
from batch.storage.database import connected
from config.definition import Column, Table
from config.engines import engine_of
from config.engines.base import Connection, Engine
from config.engines.faults import EngineError
from streams.model.position import SNAPSHOT_ROW, sequence_text

AT_ONCE: Final = 5_000
"""Number of keys per SQL statement."""


def land_rows_again(
    table: Table, keys: Sequence[tuple[str | None, ...]], context: RunContext, *, only_new: bool = False
) -> LayerResult:
    """Append the source's rows with these keys; see `batch.bronze.land_rows`, which adds retries."""
    engine = engine_of(context.definition)
    conditions = [_condition(engine, table, keys[start : start + AT_ONCE]) for start in range(0, len(keys), AT_ONCE)]
    if not conditions:
        bronze = bronze_table(table, context)
        return unchanged(bronze, table, bronze.progress())
    return _landed(table, conditions, keys, context, only_new=only_new)


def land_window_again(table: Table, since: datetime | None, until: datetime | None, context: RunContext) -> LayerResult:
    """Append the source's rows in a cursor window; see `batch.bronze.land_window`, which adds retries."""
    assert has_time_cursor(table), f"{table.name} has no time cursor"
    cursor = engine_of(context.definition).quoted(source_cursor(table))
    bounds = [f"{cursor} >= '{time_text(since)}'"] if since else []
    bounds += [f"{cursor} < '{time_text(until)}'"] if until else []
    return _landed(table, [" AND ".join(bounds) or "TRUE"], (), context, only_new=True)


def _landed(
    table: Table,
    conditions: Sequence[str],
    keys: Sequence[tuple[str | None, ...]],
    context: RunContext,
    *,
    only_new: bool,
) -> LayerResult:
    bronze = bronze_table(table, context)
    done = bronze.progress()
    settings, definition = source_of(table, context), context.definition
    with connected(settings, definition.database, definition.schema) as connection:
        others = check_columns(connection, table)
        # Read the position before the rows, so that a change made in the meantime is newer than the rows and wins.
        sequence, progress = _place(connection, table, done, context)
        rest = columns_to_keep(connection.engine, table, others, definition) if table.feed == "changes" else []
        sized = [(each, measured(connection, table, each, context, rest=rest)) for each in conditions]
    progress = with_kept(progress, [column.name for column in rest])
    found = _read(table, sized, context, rest).persist()
    try:
        aside = put_aside(found, table, context)
        rows_in = len(keys) or found.count()
        rows = _with_deletes(found, table, keys, context, sequence)
        rows = _news(rows, table, bronze) if only_new else rows
        if only_new and rows.isEmpty():
            return with_put_aside(unchanged(bronze, table, done, rows_in=rows_in), aside, context)
        written = bronze.append(
            in_files(rows, table, rows_in * sizes.ROW_BYTES),
            run_id=context.run_id,
            progress=progress,
            partition_by=PARTITIONS,
            properties=properties(table),
        )
    finally:
        found.unpersist()
    result = LayerResult.of(written, layer="bronze", table=table.name, progress=progress, rows_in=rows_in)
    return with_put_aside(result, aside, context)


def _read(table: Table, sized: Sequence[tuple[str, Sizes]], context: RunContext, rest: Sequence[Column]) -> DataFrame:
    """Return the rows of the source that satisfy any of the conditions, which come with the sizes of their rows."""
    settings, definition = source_of(table, context), context.definition
    parts = [
        read_source(context.spark, settings, definition, table, condition, rest=rest, sizes=each)
        for condition, each in sized
    ]
    return functools.reduce(functools.partial(DataFrame.unionByName, allowMissingColumns=True), parts)


def _news(rows: DataFrame, table: Table, bronze: LakeTable) -> DataFrame:
    """Return the rows that differ from their newest version in Bronze, without deletes of keys that Bronze lacks."""
    key = list(table.key)
    if not bronze.exists():
        return rows.where("_op <> 'd'")
    versions = bronze.read().join(rows.select(*key), key, "left_semi")
    newest = versions.groupBy(*key).agg(F.max(F.struct("_sequence", "_row_hash", "_op")).alias("_there_version"))
    live = newest.where("_there_version._op <> 'd'").select(*key, F.col("_there_version._row_hash").alias("_row_hash"))
    changed = anti_joined(rows.where("_op <> 'd'"), live, [*key, "_row_hash"])
    return changed.unionByName(rows.where("_op = 'd'").join(live.select(*key), key, "left_semi"))


def _with_deletes(
    found: DataFrame, table: Table, keys: Sequence[tuple[str | None, ...]], context: RunContext, sequence: str
) -> DataFrame:
    schema = ", ".join(f"`{name}` STRING" for name in table.key)
    asked = context.spark.createDataFrame(list(keys), schema).distinct()
    others = [F.lit(None).cast("string").alias(name) for name in found.columns if name not in table.key]
    gone = anti_joined(asked, found, table.key).select(*table.key, *others)
    rows = smaller(found, context).withColumn("_op", F.lit("r")).unionByName(gone.withColumn("_op", F.lit("d")))
    marked = rows.withColumns(
        {
            "_sequence": F.lit(sequence),
            "_committed_at": F.lit(datetime.now(UTC)),
            "_origin": F.lit(JDBC),
        }
    )
    return stamped(marked, table, context)


def _place(
    connection: Connection, table: Table, progress: dict[str, Any], context: RunContext
) -> tuple[str, dict[str, Any]]:
    """Return the sequence for rows that are read from now on, and the progress to commit with these rows."""
    if table.feed == "changes":
        try:
            place = connection.engine.log_place(connection)
        except EngineError as error:
            raise table_error(table, str(error)) from error
        position = (_newest_epoch(context), *place, SNAPSHOT_ROW)
        return reading_sequence(position, datetime.now(UTC)), progress
    anchor = find_anchor(connection, safety_s=context.settings.window_safety_s)
    micros = next_sequence(anchor.at, progress)
    return jdbc_sequence(micros), {**progress, "sequence": micros}


def _newest_epoch(context: RunContext) -> int:
    """Return the newest epoch of all changes in Bronze, as the rows of any table prove that the epoch has begun."""

    def find() -> int:
        tables = [context.table("bronze", table.name) for table in context.definition.tables if table.feed == "changes"]
        later = sequence_text((1, 0, 0, SNAPSHOT_ROW))
        newest = [
            since(found, later, columns=["_sequence"]).agg(F.max("_sequence")).first()
            for found in tables
            if found.exists()
        ]
        return max((epoch_in(row[0]) for row in newest if row is not None and row[0] is not None), default=0)

    return context.once("newest epoch", find)


def _condition(engine: Engine, table: Table, keys: Sequence[tuple[str | None, ...]]) -> str:
    columns = {column.name: column for column in table.columns}
    texts = ", ".join(engine.value(columns[name]) for name in table.key)
    literals = (("NULL" if value is None else engine.exact_literal(value) for value in key) for key in keys)
    values = ", ".join(f"({', '.join(key)})" for key in literals)
    return f"({texts}) IN ({values})"
