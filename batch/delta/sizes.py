"""All size limits of the lake: each has one function that compares a size with it.

Below these limits a run avoids the work that pays off only for many rows and would take most of its time: Spark
generates and compiles Java code for every query (a third of the processor time), distributes rows over tasks, and
replans after each shuffle.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Final, Protocol

from pyspark.sql import SparkSession

from batch.spark.session import configured

DRIVER_ROWS_MAX: Final = 50_000
"""Maximum number of rows that the driver holds (some tens of megabytes); more rows stay in Spark."""

SMALL_TABLES_BYTES_MAX: Final = 16 * 2**20
"""Maximum stored bytes of all tables that a small query may read together: some hundred thousand rows."""

DELTA_RS_TABLE_BYTES_MAX: Final = 128 * 2**20
"""Maximum stored bytes of a table that is read in-process with delta-rs, and that `maintain` lets delta-rs write;
larger ones are read and written by Spark's cluster."""

DELTA_RS_RETURN_BYTES_MAX: Final = 32 * 2**20
"""Maximum stored bytes of a table whose writer `maintain` changes from Spark back to delta-rs: far below the other
limit, so that a table does not change its writer with every run of `maintain`."""

DELETION_VECTORS_BYTES_MIN: Final = 128 * 2**20
"""Minimum stored bytes of a table that uses deletion vectors: a merge marks changed rows as deleted in their files
instead of rewriting these files. This makes merges cheaper, and every later read of the table more expensive."""

_SMALL_QUERY_SETTINGS: Final = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
}


class Sized(Protocol):
    """A table that knows its size."""

    def size(self) -> int:
        """Return the total bytes of the table's data files; 0 if the table does not exist."""


def fits_driver(row_count: int) -> bool:
    """Whether the driver may hold this number of rows."""
    return row_count <= DRIVER_ROWS_MAX


def are_small_tables(tables: Iterable[Sized]) -> bool:
    """Whether the tables together are small enough for a small query; missing tables count as 0 bytes."""
    return sum(table.size() for table in tables) <= SMALL_TABLES_BYTES_MAX


def fits_delta_rs(table_bytes: int) -> bool:
    """Whether a table of this size is read in-process with delta-rs, and may stay a table that delta-rs writes."""
    return table_bytes <= DELTA_RS_TABLE_BYTES_MAX


def fits_delta_rs_again(table_bytes: int) -> bool:
    """Whether the writer of a table of this size changes from Spark back to delta-rs."""
    return table_bytes <= DELTA_RS_RETURN_BYTES_MAX


def wants_deletion_vectors(table_bytes: int) -> bool:
    """Whether a table of this size is large enough for deletion vectors."""
    return table_bytes >= DELETION_VECTORS_BYTES_MIN


def set_for_small_query(spark: SparkSession, *, when: bool) -> AbstractContextManager[None]:
    """Configure the session for queries over small tables inside the block, if `when` is true."""
    return configured(spark, _SMALL_QUERY_SETTINGS if when else {})
