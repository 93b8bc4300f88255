"""All sizes and limits of the lake, with the functions that compare with them.

Below the limits, a run avoids work that pays off only for many rows but would take most of the run's time: Spark
generates and compiles Java code for every query (a third of the processor time), distributes rows over tasks, and
replans the query after each shuffle.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Final, Protocol

from pyspark.sql import SparkSession

from batch.spark.session import configured

FILE_BYTES: Final = 16 * 2**20
"""Bytes for which a run adds one data file; `maintain` merges the files of small tables to this size too."""

FILES_MAX: Final = 10
"""Maximum number of data files that a run adds to a Bronze table, because every later read opens each of them."""

ROW_BYTES: Final = 100
"""Assumed stored bytes of a Bronze row that is read from a database; in the shipped datasets, it is 60 to 130."""

DRIVER_ROWS_MAX: Final = 50_000
"""Maximum number of rows that the driver holds (a few tens of megabytes); larger numbers of rows stay in Spark."""

SMALL_TABLES_BYTES_MAX: Final = 16 * 2**20
"""Maximum total stored bytes of the tables that a small query reads, which is a few hundred thousand rows."""

DELTA_RS_TABLE_BYTES_MAX: Final = 128 * 2**20
"""Maximum stored bytes of a table that delta-rs may read and write in-process. Spark reads larger tables, and writes
them from the next `maintain` on."""

DELTA_RS_RETURN_BYTES_MAX: Final = 32 * 2**20
"""Maximum stored bytes of a table whose writer `maintain` changes from Spark back to delta-rs. This is far below
`DELTA_RS_TABLE_BYTES_MAX`, so that a table's writer does not change with every run of `maintain`."""

DELETION_VECTORS_BYTES_MIN: Final = 128 * 2**20
"""Minimum stored bytes of a table that uses deletion vectors, with which a merge marks changed rows as deleted instead
of rewriting their files. Deletion vectors make merges cheaper, but every later read of the table more expensive."""

_SMALL_QUERY_SETTINGS: Final = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
}


class Sized(Protocol):
    """A table that can report the size of its data files."""

    def size(self) -> int:
        """Return the total bytes of the table's data files; 0 if the table does not exist."""


def output_files(stored_bytes: int) -> int:
    """Return the number of files for new rows of about this many stored bytes, from 1 to `FILES_MAX`."""
    return max(1, min(FILES_MAX, math.ceil(stored_bytes / FILE_BYTES)))


def fits_driver(row_count: int) -> bool:
    """Whether the driver may hold this many rows."""
    return row_count <= DRIVER_ROWS_MAX


def are_small_tables(tables: Iterable[Sized]) -> bool:
    """Whether the tables' total size allows the settings for small queries; missing tables count as 0 bytes."""
    return sum(table.size() for table in tables) <= SMALL_TABLES_BYTES_MAX


def fits_delta_rs(table_bytes: int) -> bool:
    """Whether a table of this size is small enough to be read with delta-rs, and to keep delta-rs as its writer."""
    return table_bytes <= DELTA_RS_TABLE_BYTES_MAX


def fits_delta_rs_again(table_bytes: int) -> bool:
    """Whether a table of this size is small enough to change its writer from Spark back to delta-rs."""
    return table_bytes <= DELTA_RS_RETURN_BYTES_MAX


def wants_deletion_vectors(table_bytes: int) -> bool:
    """Whether a table of this size is large enough for deletion vectors."""
    return table_bytes >= DELETION_VECTORS_BYTES_MIN


def set_for_small_query(spark: SparkSession, *, when: bool) -> AbstractContextManager[None]:
    """Configure the Spark session for queries on small tables during the `with` block, if `when` is true."""
    return configured(spark, _SMALL_QUERY_SETTINGS if when else {})


def set_for_files(spark: SparkSession) -> AbstractContextManager[None]:
    """Configure the Spark session to read files in parts of `FILE_BYTES` during the `with` block."""
    return configured(spark, {"spark.sql.files.maxPartitionBytes": str(FILE_BYTES)})


def session_for_small_queries(spark: SparkSession) -> SparkSession:
    """Return a new session on the same Spark context that is configured for queries on small tables."""
    session = spark.newSession()
    for name, value in _SMALL_QUERY_SETTINGS.items():
        session.conf.set(name, value)
    return session
