"""How much is small: every size limit of the lake, and the one question that each of them answers.

What Spark does for many rows costs a run that finds a few in small tables most of its time: it makes Java of every
query and compiles it (a third of the processor time), spreads rows over tasks, and plans again after each shuffle.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Final, Protocol

from pyspark.sql import SparkSession

from batch.spark.session import configured

DRIVER_ROWS_MAX: Final = 50_000
"""Rows that the driver may hold, some tens of megabytes. More stay where they are."""

SMALL_TABLES_BYTES_MAX: Final = 16 * 2**20
"""Stored bytes of all tables that a small query may have to read: some hundred thousand rows."""

DELTA_RS_TABLE_BYTES_MAX: Final = 128 * 2**20
"""Stored bytes of the largest table that this process reads, and that `maintain` leaves to delta-rs to write; larger
ones are for Spark, and its cluster."""

DELTA_RS_RETURN_BYTES_MAX: Final = 32 * 2**20
"""Stored bytes of the largest table that `maintain` gives back from Spark to delta-rs: far below the other bound, so
that a table does not change its writer with every run of `maintain`."""

DELETION_VECTORS_BYTES_MIN: Final = 128 * 2**20
"""Stored bytes of a table from which on its changed rows are marked as deleted in their files, and not left out of
rewritten files: every later read of the table costs more then, and a merge less."""

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
        """Bytes of its data files; 0 if it does not exist."""


def fits_driver(row_count: int) -> bool:
    """Whether the driver may hold so many rows."""
    return row_count <= DRIVER_ROWS_MAX


def are_small_tables(tables: Iterable[Sized]) -> bool:
    """Whether the tables are small together; missing ones have no bytes."""
    return sum(table.size() for table in tables) <= SMALL_TABLES_BYTES_MAX


def fits_delta_rs(table_bytes: int) -> bool:
    """Whether a table of so many bytes is read in this process, and left to delta-rs to write."""
    return table_bytes <= DELTA_RS_TABLE_BYTES_MAX


def fits_delta_rs_again(table_bytes: int) -> bool:
    """Whether a table of so many bytes is given back from Spark to delta-rs."""
    return table_bytes <= DELTA_RS_RETURN_BYTES_MAX


def wants_deletion_vectors(table_bytes: int) -> bool:
    """Whether a table of so many bytes is large enough for deletion vectors."""
    return table_bytes >= DELETION_VECTORS_BYTES_MIN


def set_for_small_query(spark: SparkSession, *, when: bool) -> AbstractContextManager[None]:
    """Set the session for queries over small tables if the condition holds."""
    return configured(spark, _SMALL_QUERY_SETTINGS if when else {})
