"""Few rows, brought to the driver: Spark then joins and sends them without a job for each step.

A run that goes on from the last one has few rows in each table, and every Spark job costs some fifty milliseconds
however few rows it has.
"""

from __future__ import annotations

from typing import Final

from pyspark.sql import DataFrame

FEW: Final = 50_000
"""Rows that the driver may hold, some tens of megabytes. More stay where they are."""


def brought(rows: DataFrame) -> DataFrame | None:
    """The same rows, held by the driver; None if they are more than `FEW`."""
    table = rows.limit(FEW + 1).toArrow()
    if table.num_rows > FEW:
        return None
    return rows.sparkSession.createDataFrame(table, schema=rows.schema)


def brought_if_few(rows: DataFrame) -> DataFrame:
    """The same rows, held by the driver if they are few."""
    found = brought(rows)
    return rows if found is None else found
