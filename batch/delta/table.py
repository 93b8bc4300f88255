"""A Delta table of the lake: read, written and kept, each by whichever of Spark and delta-rs does it sooner.

Every commit carries the progress of the run that made it: see `batch.delta.commits`. Writes set the session's
configuration: a session is of one thread at a time.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deltalake import CommitProperties
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StringType, StructField, StructType

from batch.delta import sizes
from batch.delta.commits import Commit, Commits, Written
from batch.delta.delta_rs import DeltaRsTable, Merge, commit_properties
from batch.delta.delta_rs_location import DeltaRsLocation
from batch.delta.log import NO_TABLE, DeltaLog
from batch.delta.rows import Rows
from batch.delta.snapshot import Snapshot
from batch.delta.spark_table import EVOLVE, SparkTable

CHANGE_FEED = {"delta.enableChangeDataFeed": "true"}
STATISTICS = "delta.dataSkippingStatsColumns"
"""The property that names the columns of which every file's lowest and highest values are kept: those searched for."""
DELETION_VECTORS = {"delta.enableDeletionVectors": "true"}

log = logging.getLogger("batch.delta.table")


@dataclass(frozen=True, kw_only=True)
class DataFiles:
    """Data files of a version, and their bytes."""

    count: int
    size: int


class LakeTable:
    """The Delta table at `path`; `name` is layer and table, as in `silver/orders`."""

    def __init__(self, spark: SparkSession, path: str, name: str) -> None:
        self.path = path
        self.name = name
        self.spark = spark
        self._log = DeltaLog(spark, path)
        self._commits = Commits(spark, name, self._log, self.version)

    def exists(self) -> bool:
        """Whether there is a table."""
        return self.version() != NO_TABLE

    def version(self) -> int:
        """The newest version; -1 if there is no table."""
        return self._newest().version()

    def size(self) -> int:
        """Bytes of the newest version's data files; 0 if there is no table."""
        return self.data_files().size

    def property(self, name: str) -> str | None:
        """A property of the table; None if it has none of this name, or if there is no table."""
        return self._newest().property(name)

    def read(self, version: int | None = None) -> DataFrame:
        """The rows, of the newest or of an older version."""
        return self._spark_table.read(version)

    def at(self, version: int | None = None) -> Snapshot:
        """The rows of the newest, or of an older version, to look some of them up."""
        return Snapshot(self, self.version() if version is None else version)

    def delta_rs(self, version: int | None = None) -> DeltaRsTable | None:
        """A version (default: the newest) for this process; None if it is too large, or only Spark can reach it."""
        found = self._delta_rs_location.newest() if version is None else self._delta_rs_location.at(version)
        return found if found is not None and sizes.fits_delta_rs(found.data_files()[1]) else None

    def progress(self) -> dict[str, Any]:
        """What the newest commit with a progress says; {} if there is none. Writes continue from here."""
        return self._commits.progress()

    def changed_since(self, version: int) -> Rows | None:
        """The change data feed after `version`; None if it is gone, or was never kept."""
        newest = self.version()
        if not 0 <= version <= newest or self.property("delta.enableChangeDataFeed") != "true":
            return None
        if version == newest:  # Delta refuses a range without commits
            return Rows.of(self._spark_table.feed(newest).where("false"))
        if not all(self._log.has_changes_of(each) for each in range(version + 1, newest + 1)):
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
        """Add rows; columns that the table lacks are added to it. The last two are for a table that is made here."""
        rows = Rows.of(rows)
        self._make(rows, partition_by, properties)
        with self._commits.made(run_id, progress) as commit:
            held = rows.arrow
            if held is None or not self._is_written_here(
                rows.schema.names, commit, lambda table, carried: table.append(held, carried)
            ):
                self._spark_table.append(rows.frame)
        return self._commits.written(commit)

    def note(self, *, run_id: str, progress: Mapping[str, Any]) -> Written:
        """Write nothing but the progress."""
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
        """Put rows, and their columns, in the place of all there were; readers see the old or the new ones."""
        rows = Rows.of(rows)
        if self._make(rows, partition_by, properties):
            return self.append(rows, run_id=run_id, progress=progress)
        self.have(properties or {})
        with self._commits.made(run_id, progress) as commit:
            self._spark_table.replace(rows.frame, partition_by)
        return self._commits.written(commit)

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
        """Merge rows `s` into the table `t`: one row of `s` for a key at most.

        Args:
            rows: what comes; with the table's columns, or more.
            evolve: columns that the table lacks are added to it; else they are for the conditions only.
            on: which rows belong together; with literal predicates on partition columns where there are any.
            set_when: rows that belong together are replaced when this holds; None: never.
            insert_when: new rows are added when this holds; None: always; `NEVER`: then `rows` may lack columns.
            delete_when: rows that belong together are deleted when this holds; asked before `set_when`.
        """
        rows = Rows.of(rows)
        self._make(rows)
        merge = Merge(on=on, set_when=set_when, insert_when=insert_when, delete_when=delete_when)
        with self._commits.made(run_id, progress, **{EVOLVE: str(evolve).lower()}) as commit:
            held = rows.arrow
            if held is None or not self._is_written_here(
                rows.schema.names,
                commit,
                lambda table, carried: table.merge(held, carried, merge),
                has_more=not evolve,
            ):
                self._spark_table.merge(rows.frame, merge)
        return self._commits.written(commit)

    def have(self, properties: Mapping[str, str]) -> None:
        """Give the table the properties that it lacks."""
        lacking = {name: value for name, value in properties.items() if self.property(name) != value}
        if lacking:
            self._spark_table.have(lacking)

    @contextlib.contextmanager
    def noting(self, run_id: str) -> Iterator[None]:
        """Let commits that change no rows (compaction) repeat the progress, so that it stays near the log's end."""
        with self._commits.noting(run_id):
            yield

    def data_files(self) -> DataFiles:
        """What the newest version consists of; nothing if there is no table."""
        newest = self._newest()
        if newest.version() == NO_TABLE:
            return DataFiles(count=0, size=0)
        count, size = newest.data_files()
        return DataFiles(count=count, size=size)

    def stored_bytes(self) -> int:
        """Bytes of all files in the table's folder, those of older versions and the log included."""
        return self._log.stored_bytes()

    def remove(self, condition: str, *, run_id: str) -> int:
        """Delete the rows for which the condition holds; how many there were."""
        count = self.read().where(condition).count()
        if count:
            with self.noting(run_id):
                self._spark_table.delete(condition)
        return count

    def compact(self, *, file_bytes: int, run_id: str) -> None:
        """Put small files of a partition together into files of about this size."""
        with self.noting(run_id):
            self._spark_table.compact(file_bytes)

    def vacuum(self, *, keep_s: float) -> None:
        """Delete the files that no version of this time needs."""
        self._spark_table.vacuum(keep_s)

    @cached_property
    def _spark_table(self) -> SparkTable:
        return SparkTable(self.spark, self._log.location)

    @cached_property
    def _delta_rs_location(self) -> DeltaRsLocation:
        return DeltaRsLocation(self.spark, self._log.location)

    def _newest(self) -> DeltaRsTable | DeltaLog:
        """The newest version; by Spark's own reading of the log, which takes jobs, only where there is no other way."""
        try:
            return self._delta_rs_location.newest() or self._log
        except TableNotFoundError:
            return self._log

    def _make(self, rows: Rows, partition_by: Sequence[str] = (), properties: Mapping[str, str] | None = None) -> bool:
        """Make the table, without rows, if there is none; whether there was none."""
        if self.exists():
            return False
        given = properties or {}
        if not self._delta_rs_location.created(rows.schema, partition_by=partition_by, properties=given):
            self._spark_table.make(rows.schema, partition_by=partition_by, properties=given)
        return True

    def _is_written_here(
        self,
        names: Sequence[str],
        commit: Commit,
        write: Callable[[DeltaRsTable, CommitProperties], None],
        *,
        has_more: bool = False,
    ) -> bool:
        """Write rows with these columns (the table's own, or some more) in this process, if that can be done.

        What another commit has overtaken is done again on the rows that it has left.
        """
        carried = commit_properties(commit.note, self.name, commit.number)
        for is_last in (False, False, True):
            table = self.delta_rs()
            if table is None or not table.takes(names, has_more=has_more):
                return False
            if table.number(self.name) >= commit.number:
                raise self._commits.overtaken()
            try:
                write(table, carried)
                break
            except CommitFailedError as error:
                if self._commits.found(commit) is not None:  # it was our own, and the answer to it was lost
                    break
                if is_last:
                    raise self._commits.overtaken() from error
            except DeltaError:
                log.warning("%s: not written by delta-rs, so Spark is asked", self.name, exc_info=True)
                return False
        return True
