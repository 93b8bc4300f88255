"""Few rows, brought to the driver: Spark then joins and sends them without a job for each step.

A run that goes on from the last one has few rows in each table, and every Spark job costs some fifty milliseconds
however few rows it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

FEW: Final = 50_000
"""Rows that the driver may hold, some tens of megabytes. More stay where they are."""


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
    """The same rows, held by the driver; None if they are more than `FEW`."""
    table = rows.limit(FEW + 1).toArrow()
    return None if table.num_rows > FEW else Brought(rows.sparkSession, rows.schema, table)


def few_or_all(rows: DataFrame) -> Rows:
    """The same rows, held by the driver if they are few."""
    found = brought(rows)
    return rows if found is None else found


def brought_if_few(rows: DataFrame) -> DataFrame:
    """The same rows for Spark, held by the driver if they are few."""
    return frame(few_or_all(rows))
