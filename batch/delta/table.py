"""A Delta table of the lake, accessed with Spark or delta-rs (`batch.delta.writer` chooses which of them writes).

Every commit stores the progress of the run that made it (`batch.delta.commits`). Writes temporarily change the
configuration of the Spark session, so only one thread at a time may use a session.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from deltalake.exceptions import TableNotFoundError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StringType, StructField, StructType

from batch.delta import sizes
from batch.delta.commits import Commit, Commits, Written
from batch.delta.delta_rs import DeltaRsTable, Merge
from batch.delta.delta_rs_location import DeltaRsLocation
from batch.delta.log import NO_TABLE, TYPE_WIDENING, DataFiles, DeltaLog
from batch.delta.rows import Rows
from batch.delta.snapshot import Snapshot
from batch.delta.spark_table import EVOLVE, SparkTable
from batch.delta.writer import DELTA_RS, SPARK, SPARK_ONLY, WRITER, Writer, next_writer, suits_delta_rs

CHANGE_FEED = {"delta.enableChangeDataFeed": "true"}
STATISTICS = "delta.dataSkippingStatsColumns"
"""The table property that lists the columns whose minimum and maximum Delta stores per file, so that it can skip files
when reading."""
DELETION_VECTORS = {"delta.enableDeletionVectors": "true"}


class LakeTable:
    """The Delta table at `path`; `name` is its layer and table name, such as `silver/orders`."""

    def __init__(self, spark: SparkSession, path: str, name: str) -> None:
        self.path = path
        self.name = name
        self.spark = spark
        self._log = DeltaLog(spark, path)
        self._commits = Commits(spark, name, self._log, self.version)

    def exists(self) -> bool:
        """Whether the table exists."""
        return self.version() != NO_TABLE

    def version(self) -> int:
        """Return the table's newest version; -1 if the table does not exist."""
        return self._newest().version()

    def size(self) -> int:
        """Return the total bytes of the newest version's data files; 0 if the table does not exist."""
        return self.data_files().size

    def property(self, name: str) -> str | None:
        """Return the value of a table property; None if it is not set or the table does not exist."""
        return self._newest().property(name)

    def read(self, version: int | None = None) -> DataFrame:
        """Return the table's rows at a version (default: the newest), as a Spark DataFrame."""
        return self._spark_table.read(version)

    def at(self, version: int | None = None) -> Snapshot:
        """Return a snapshot of the table at a version (default: the newest), for looking up selected rows."""
        return Snapshot(self, self.version() if version is None else version)

    def delta_rs(self, version: int | None = None) -> DeltaRsTable | None:
        """Return the table at a version (default: the newest), for reading with delta-rs; None if Spark must read it.

        Spark must read a table that is too large, that delta-rs cannot reach, that has features unknown to delta-rs, or
        for which an operator has set `SPARK_ONLY`.
        """
        found = self._delta_rs_location.newest() if version is None else self._delta_rs_location.at(version)
        if found is None or not found.is_readable() or found.property(WRITER) == SPARK_ONLY:
            return None
        return found if sizes.fits_delta_rs(found.data_files()[1]) else None

    def writer(self) -> Writer:
        """Return the engine to use for appends and merges of rows that the driver holds."""
        found = self._delta_rs_location.newest()
        return SPARK if found is None else found.writer()

    def decide_writer(self, *, run_id: str) -> str | None:
        """Choose the table's writer by table size and record it; return the new writer, or None if unchanged."""
        found, recorded = self._delta_rs_location.newest(), self.property(WRITER)
        is_kept_up = found is not None and found.is_kept_up()
        wanted = next_writer(recorded, is_kept_up=is_kept_up, table_bytes=self.size())
        if wanted == recorded:
            return None
        with self.noting(run_id):
            self.have({WRITER: wanted})
        return wanted

    def progress(self) -> dict[str, Any]:
        """Return the newest progress in the log; {} if there is none.

        A later write fails if another run has meanwhile written from the same progress.
        """
        return self._commits.progress()

    def changed_since(self, version: int) -> Rows | None:
        """Return the change data feed after `version`.

        None if the feed was deleted or never recorded, or if a column has got another type since.
        """
        newest = self.version()
        if not 0 <= version <= newest or self.property("delta.enableChangeDataFeed") != "true":
            return None
        if not all(self._log.has_changes_of(each) for each in range(version + 1, newest + 1)):
            return None
        if self.property(TYPE_WIDENING) == "true":  # Delta rejects a range in which a column gets a wider type
            version = self._log.last_without_changes(version, newest)
        if version == newest:  # Delta rejects a range without commits
            return Rows.of(self._spark_table.feed(newest).where("false"))
        if self._log.is_retyped(version, newest, lambda: self.at(version).schema):  # former values may not fit
            return None
        delta_rs = self.delta_rs(newest)
        found = None if delta_rs is None else delta_rs.changes(version + 1, newest, most=sizes.DRIVER_ROWS_MAX)
        if delta_rs is None or found is None:
            return Rows.of(self._spark_table.feed(version + 1, newest)).collect_if_small()
        schema = StructType([*delta_rs.schema, StructField("_change_type", StringType())])
        return Rows.held(self.spark, schema, found)

    def append(
        self,
        rows: DataFrame | Rows,
        *,
        run_id: str,
        progress: Mapping[str, Any],
        partition_by: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
    ) -> Written:
        """Append rows, first adding any columns that the table lacks; create the table if it does not exist.

        Args:
            partition_by, properties: used only if this call creates the table.
        """
        rows = Rows.of(rows)
        is_new = self._make(rows, partition_by, properties)
        with self._commits.made(run_id, progress) as commit:
            held = rows.arrow
            if held is not None and self._is_for_delta_rs(rows):
                self._commits.write_by_delta_rs(
                    commit, self._delta_rs_location.newest, lambda table, carried: table.append(held, carried)
                )
            else:
                self._spark_table.append(rows.frame)
        return self._written(commit, loaded=is_new and held is None)

    def note(self, *, run_id: str, progress: Mapping[str, Any]) -> Written:
        """Commit the progress without adding any rows."""
        return self.append(self.at().read(where="false"), run_id=run_id, progress=progress)

    def replace(
        self,
        rows: DataFrame | Rows,
        *,
        run_id: str,
        progress: Mapping[str, Any],
        partition_by: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
    ) -> Written:
        """Replace all rows and columns of the table in one commit; create the table if it does not exist."""
        rows = Rows.of(rows)
        if not self.exists():
            return self.append(rows, run_id=run_id, progress=progress, partition_by=partition_by, properties=properties)
        self.have(properties or {})
        with self._commits.made(run_id, progress) as commit:
            self._spark_table.replace(rows.frame, partition_by)
        return self._written(commit, loaded=True)

    def merge(
        self,
        rows: DataFrame | Rows,
        *,
        on: str,
        set_when: str | None,
        insert_when: str | None = None,
        delete_when: str | None = None,
        evolve: bool = True,
        run_id: str,
        progress: Mapping[str, Any],
    ) -> Written:
        """Merge rows `s` into the table `t`; at most one row of `s` may match a row of `t`.

        All conditions are SQL that both DataFusion (in delta-rs) and Spark accept.

        Args:
            rows: rows to merge, with at least the table's columns.
            on: condition under which a row of `s` matches a row of `t`; comparisons of partition columns with literals
                restrict which files are read.
            set_when: condition for replacing a matched row of `t`; None means never.
            insert_when: condition for inserting an unmatched row of `s`; None means always. With `NEVER`, `rows` may
                lack columns of the table.
            delete_when: condition for deleting a matched row of `t`, checked before `set_when`; None means never.
            evolve: whether to add columns that the table lacks; otherwise, conditions can use them, but they are not
                written.
        """
        rows = Rows.of(rows)
        self._make(rows)
        merge = Merge(on=on, set_when=set_when, insert_when=insert_when, delete_when=delete_when)
        with self._commits.made(run_id, progress, **{EVOLVE: str(evolve).lower()}) as commit:
            held = rows.arrow
            if held is not None and self._is_for_delta_rs(rows, or_fewer=not evolve):
                self._commits.write_by_delta_rs(
                    commit, self._delta_rs_location.newest, lambda table, carried: table.merge(held, carried, merge)
                )
            else:
                self._spark_table.merge(rows.frame, merge)
        return self._commits.written(commit)

    def have(self, properties: Mapping[str, str]) -> None:
        """Set table properties, skipping those that already have the given value."""
        lacking = {name: value for name, value in properties.items() if self.property(name) != value}
        if lacking:
            self._spark_table.have(lacking)

    @contextlib.contextmanager
    def noting(self, run_id: str) -> Iterator[None]:
        """Make Spark's commits inside the `with` block store the current progress again.

        This is for commits of maintenance, which makes no progress of its own.
        """
        with self._commits.noting(run_id):
            yield

    def data_files(self) -> DataFiles:
        """Return the number and total size of the newest version's data files; both are 0 if there is no table."""
        newest = self._newest()
        if newest.version() == NO_TABLE:
            return DataFiles(count=0, size=0)
        count, size = newest.data_files()
        return DataFiles(count=count, size=size)

    def stored_bytes(self) -> int:
        """Return the total bytes of all files in the table's folder, including older versions and the log."""
        return self._log.stored_bytes()

    def remove(self, condition: str, *, run_id: str) -> int:
        """Delete the rows that satisfy an SQL condition; return the number of deleted rows."""
        count = self.read().where(condition).count()
        if count:
            with self.noting(run_id):
                self._spark_table.delete(condition)
        return count

    def compact(self, *, file_bytes: int, run_id: str) -> None:
        """Combine small files within each partition into files of about `file_bytes` bytes."""
        with self.noting(run_id):
            self._spark_table.compact(file_bytes)

    def vacuum(self, *, keep_s: float) -> None:
        """Delete data files that only table versions older than `keep_s` seconds need."""
        self._spark_table.vacuum(keep_s)

    @cached_property
    def _spark_table(self) -> SparkTable:
        return SparkTable(self.spark, self._log.location)

    @cached_property
    def _delta_rs_location(self) -> DeltaRsLocation:
        return DeltaRsLocation(self.spark, self._log.location)

    def _newest(self) -> DeltaRsTable | DeltaLog:
        """Return the table's newest state, read by delta-rs if possible, else by Spark, which may run jobs."""
        try:
            return self._delta_rs_location.newest() or self._log
        except TableNotFoundError:
            return self._log

    def _make(self, rows: Rows, partition_by: Sequence[str] = (), properties: Mapping[str, str] | None = None) -> bool:
        """Create an empty table unless one exists; return whether it was created."""
        if self.exists():
            return False
        given = dict(properties or {})
        if self._delta_rs_location.is_reachable() and suits_delta_rs(rows.schema, given):
            given[WRITER] = DELTA_RS
            self._delta_rs_location.create(rows.schema, partition_by=partition_by, properties=given)
        else:
            given[WRITER] = SPARK
            self._spark_table.make(rows.schema, partition_by=partition_by, properties=given)
        return True

    def _written(self, commit: Commit, *, loaded: bool) -> Written:
        """Return the result of a commit; if the commit `loaded` the whole table, choose the table's writer again."""
        written = self._commits.written(commit)
        if loaded and self.decide_writer(run_id=commit.run_id) is not None:
            return replace(written, version=self.version())
        return written

    def _is_for_delta_rs(self, rows: Rows, *, or_fewer: bool = False) -> bool:
        """Whether delta-rs may commit these rows, which the driver holds; Spark makes commits that change columns."""
        found = self._delta_rs_location.newest()
        if found is None or found.writer() != DELTA_RS or not suits_delta_rs(rows.schema, {}):
            return False
        return found.has_columns(rows.schema, or_fewer=or_fewer)
