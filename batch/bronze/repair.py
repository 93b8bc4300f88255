"""Single rows landed again, as the source has them now: the repair of what a feed did not bring."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mysql.connector.connection import MySQLConnection
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.rows import (
    JDBC,
    MOST_FILES,
    PARTITIONS,
    bronze_table,
    not_there,
    properties,
    refused,
    stamped,
    unchanged,
)
from batch.bronze.sequence import jdbc_sequence, sequence_text
from batch.bronze.source import check_columns, read_source
from batch.bronze.windows import find_anchor, next_sequence, source_of
from batch.canonical import mysql_value
from batch.context import LayerResult, RunContext
from batch.source import connected
from config.definition import Table
from streams.model.position import SNAPSHOT_ROW, binlog_file_number

AT_ONCE: Final = 5_000
"""Keys of one statement."""


def land_rows_again(table: Table, keys: Sequence[tuple[str | None, ...]], context: RunContext) -> LayerResult:
    """Land the rows with these keys; `batch.bronze.land_rows` says how."""
    bronze = bronze_table(table, context)
    progress = bronze.progress()
    if not keys:
        return unchanged(bronze, table, progress)
    settings, database = source_of(table, context), context.definition.database
    with connected(settings, database) as connection:
        check_columns(connection, table)
        # Read before the rows: a change that comes meanwhile is newer than what is landed here, and wins.
        sequence, progress = _place(connection, table, progress, context)
    parts = [
        read_source(context.spark, settings, database, table, _condition(table, keys[start : start + AT_ONCE]))
        for start in range(0, len(keys), AT_ONCE)
    ]
    found = parts[0]
    for part in parts[1:]:
        found = found.unionByName(part)
    found = found.persist()
    try:
        rows = _with_deletes(found, table, keys, context, sequence)
        written = bronze.append(
            rows.coalesce(MOST_FILES),
            run_id=context.run_id,
            progress=progress,
            partition_by=PARTITIONS,
            properties=properties(table),
        )
    finally:
        found.unpersist()
    return LayerResult.of(written, layer="bronze", table=table.name, progress=progress, rows_in=len(keys))


def _with_deletes(
    found: DataFrame, table: Table, keys: Sequence[tuple[str | None, ...]], context: RunContext, sequence: str
) -> DataFrame:
    schema = ", ".join(f"`{name}` STRING" for name in table.key)
    asked = context.spark.createDataFrame(list(keys), schema).distinct()
    others = [F.lit(None).cast("string").alias(name) for name in table.column_names if name not in table.key]
    gone = not_there(asked, found, table.key).select(*table.key, *others)
    rows = found.withColumn("_op", F.lit("r")).unionByName(gone.withColumn("_op", F.lit("d")))
    marked = rows.withColumns(
        {
            "_sequence": F.lit(sequence),
            "_committed_at": F.lit(datetime.now(UTC)),
            "_origin": F.lit(JDBC),
        }
    )
    return stamped(marked, table, context)


def _place(
    connection: MySQLConnection, table: Table, progress: dict[str, Any], context: RunContext
) -> tuple[str, dict[str, Any]]:
    """The sequence of rows that are read from now on, and the progress with it."""
    if table.feed == "changes":
        with connection.cursor() as cursor:
            cursor.execute("SHOW MASTER STATUS")
            found = cursor.fetchall()
        if not found:
            raise refused(table, "the source keeps no binary log, so rows read from it have no place among its changes")
        name, pos = str(found[0][0]), int(str(found[0][1]))  # type: ignore[index]
        position = (context.settings.source_epoch, binlog_file_number(name), pos, SNAPSHOT_ROW)
        return sequence_text(position), progress
    anchor = find_anchor(connection, safety_s=context.settings.window_safety_s)
    micros = next_sequence(anchor, progress)
    return jdbc_sequence(micros), {**progress, "sequence": micros}


def _condition(table: Table, keys: Sequence[tuple[str | None, ...]]) -> str:
    columns = {column.name: column for column in table.columns}
    texts = ", ".join(mysql_value(columns[name]) for name in table.key)
    values = ", ".join(f"({', '.join(_literal(value) for value in key)})" for key in keys)
    return f"({texts}) IN ({values})"


def _literal(value: str | None) -> str:
    """A text of any characters as a literal that no setting of the server reads otherwise."""
    return "NULL" if value is None else f"CONVERT(X'{value.encode().hex()}' USING utf8mb4)"
