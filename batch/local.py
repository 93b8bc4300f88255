"""Few rows, brought to the driver: Spark then joins and sends them without a job for each step.

A run that goes on from the last one has few rows in each table, and every Spark job costs some fifty milliseconds
however few rows it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame

FEW: Final = 50_000
"""Rows that the driver may hold, some tens of megabytes. More stay where they are."""


@dataclass(frozen=True)
class Brought:
    """Rows that the driver holds: for Spark, and as they are."""

    rows: DataFrame
    table: pa.Table


def brought(rows: DataFrame) -> Brought | None:
    """The same rows, held by the driver; None if they are more than `FEW`."""
    table = rows.limit(FEW + 1).toArrow()
    if table.num_rows > FEW:
        return None
    return Brought(rows.sparkSession.createDataFrame(table, schema=rows.schema), table)


def brought_if_few(rows: DataFrame) -> DataFrame:
    """The same rows, held by the driver if they are few."""
    found = brought(rows)
    return rows if found is None else found.rows
