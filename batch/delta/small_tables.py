"""Queries over little data are asked in another way.

What Spark does for many rows costs a run that finds a few in small tables most of its time: it makes Java of every
query and compiles it (a third of the processor time), spreads rows over tasks, and plans anew after each shuffle.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Final

from pyspark.sql import SparkSession

from batch.delta.table import LakeTable
from batch.spark.session import configured

LITTLE: Final = 16 * 2**20
"""Bytes of all tables that a query may have to read, as they are stored: some hundred thousand rows."""

_SETTINGS: Final = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
}


def set_for_little(spark: SparkSession, *, when: bool) -> AbstractContextManager[None]:
    """Set the session for queries over little data if the condition holds."""
    return configured(spark, _SETTINGS if when else {})


def are_little(tables: Iterable[LakeTable]) -> bool:
    """Whether the tables are small together; those that are not there are."""
    return sum(table.size() for table in tables) <= LITTLE
