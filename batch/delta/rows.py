"""Few rows, brought to the driver: Spark then joins and sends them without a job for each step.

A run that goes on from the last one has few rows in each table, and every Spark job costs some fifty milliseconds
however few rows it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from batch.delta import sizes


@dataclass(frozen=True, eq=False)
class Brought:
    """Rows that the driver holds: as they are, and (`rows`) for Spark."""

    spark: SparkSession
    schema: StructType
    table: pa.Table

    @cached_property
    def rows(self) -> DataFrame:
        """The same for Spark."""
        return self.spark.createDataFrame(self.table, schema=self.schema)

    def select(self, *names: str) -> Brought:
        """Some columns of the same rows."""
        return Brought(self.spark, StructType([self.schema[name] for name in names]), self.table.select(list(names)))

    def differ_by(self, names: Sequence[str]) -> bool:
        """Whether no two rows have the same values in these columns."""
        return bool(self.table.group_by(list(names)).aggregate([]).num_rows == self.table.num_rows)


Rows = DataFrame | Brought
"""Rows that may be held by the driver."""


def frame(rows: Rows) -> DataFrame:
    """Rows for Spark, wherever they are."""
    return rows.rows if isinstance(rows, Brought) else rows


def brought(rows: DataFrame) -> Brought | None:
    """The same rows, held by the driver; None if they are more than it may hold."""
    table = rows.limit(sizes.DRIVER_ROWS_MAX + 1).toArrow()
    return Brought(rows.sparkSession, rows.schema, table) if sizes.fits_driver(table.num_rows) else None


def few_or_all(rows: DataFrame) -> Rows:
    """The same rows, held by the driver if they are few."""
    found = brought(rows)
    return rows if found is None else found


def brought_if_few(rows: DataFrame) -> DataFrame:
    """The same rows for Spark, held by the driver if they are few."""
    return frame(few_or_all(rows))
