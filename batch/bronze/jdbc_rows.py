"""Reads a source table over JDBC; the database itself converts every value to its canonical text.

For this reason, no driver, dialect or time zone can alter a value: microseconds and decimals arrive exactly as stored.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.table import table_error
from batch.bronze.windows import source_cursor
from batch.storage.canonical import time_text
from config.definition import Definition, Table
from config.engines import engine_for
from config.engines.base import Connection, SourceSettings

FETCH_ROWS: Final = 10_000
"""Number of rows per fetch; without a limit, the JDBC driver would load the whole table into memory."""


def read_source(
    spark: SparkSession, settings: SourceSettings, definition: Definition, table: Table, where: str
) -> DataFrame:
    """Return the rows of a source table that satisfy `where`, an SQL condition; all values are strings."""
    engine = engine_for(settings)
    values = ", ".join(f"{engine.value(column)} AS {engine.quoted(column.name)}" for column in table.columns)
    query = f"(SELECT {values} FROM {engine.quoted(table.source_name)} WHERE {where}) AS source"  # noqa: S608 - the definition's own names
    options = engine.jdbc(settings, definition.database, definition.schema)
    rows = spark.read.format("jdbc").options(**options, dbtable=query, fetchsize=FETCH_ROWS).load()
    return rows.select(*(F.col(name).cast("string").alias(name) for name in table.column_names))


def check_columns(connection: Connection, table: Table) -> tuple[str, ...]:
    """Check that the source has the definition's columns; return the names of any columns that the definition lacks.

    Raises:
        BatchError: the source lacks the table or a column of the definition, or a column has another type.
    """
    kinds = connection.engine.kinds
    found = connection.engine.column_types(connection).get(table.source_name, {})
    if not found:
        raise table_error(table, "table not found in the source: create it, or remove it from the definition")
    faults = [f"{column.source_name} is missing" for column in table.columns if column.source_name not in found]
    faults += [
        f"{name} has type {found[name]} instead of {column.type}"
        for name, column in ((column.source_name, column) for column in table.columns)
        if name in found and found[name] not in kinds[column.type]
    ]
    if faults:
        what = f"columns of the source differ from the definition ({'; '.join(faults)})"
        raise table_error(table, f"{what}: nothing was written; change the definition, then run again")
    return tuple(sorted(found.keys() - table.lake_columns.keys()))


def rows_ahead(connection: Connection, table: Table, now: datetime) -> int:
    """Return the number of rows of a source table whose cursor is later than the database's time."""
    quoted = connection.quoted
    condition = f"{quoted(source_cursor(table))} > '{time_text(now)}'"
    return int(connection.value(f"SELECT COUNT(*) FROM {quoted(table.source_name)} WHERE {condition}"))  # noqa: S608 - the definition's own names
