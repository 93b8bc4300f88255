"""A Delta table of the lake: read, written and maintained, by Spark or by delta-rs (`batch.delta.writer`).

Every commit carries the progress of the run that made it: see `batch.delta.commits`. Writes set the session's
configuration: a session is of one thread at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from deltalake.exceptions import TableNotFoundError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StringType, StructField, StructType

from batch.delta import sizes
from batch.delta.commits import Commit, Commits, Written
from batch.delta.delta_rs import DeltaRsTable, Merge
from batch.delta.delta_rs_location import DeltaRsLocation
from batch.delta.log import NO_TABLE, DeltaLog
from batch.delta.rows import Rows
from batch.delta.snapshot import Snapshot
from batch.delta.spark_table import EVOLVE, SparkTable
from batch.delta.writer import DELTA_RS, SPARK, SPARK_ONLY, WRITER, Writer, next_writer, suits_delta_rs

CHANGE_FEED = {"delta.enableChangeDataFeed": "true"}
STATISTICS = "delta.dataSkippingStatsColumns"
"""The property that names the columns of which every file's lowest and highest values are kept: those searched for."""
DELETION_VECTORS = {"delta.enableDeletionVectors": "true"}


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
        """A version (default: the newest) for reads in this process; None if Spark has to read it: it is too large, out
        of reach of delta-rs, has features that delta-rs does not know, or an operator has decided so."""
        found = self._delta_rs_location.newest() if version is None else self._delta_rs_location.at(version)
        if found is None or not found.is_readable() or found.property(WRITER) == SPARK_ONLY:
            return None
        return found if sizes.fits_delta_rs(found.data_files()[1]) else None

    def writer(self) -> Writer:
        """The engine that commits appends and merges of rows that the driver holds."""
        found = self._delta_rs_location.newest()
        return SPARK if found is None else found.writer()

    def decide_writer(self, *, run_id: str) -> str | None:
        """Record who writes the table from now on, by its size; the new writer, None if it stays the same."""
        found, recorded = self._delta_rs_location.newest(), self.property(WRITER)
        is_kept_up = found is not None and found.is_kept_up()
        wanted = next_writer(recorded, is_kept_up=is_kept_up, table_bytes=self.size())
        if wanted == recorded:
            return None
        with self.noting(run_id):
            self.have({WRITER: wanted})
        return wanted

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
            if held is not None and self._is_for_delta_rs(rows, or_fewer=not evolve):
                self._commits.write_by_delta_rs(
                    commit, self._delta_rs_location.newest, lambda table, carried: table.merge(held, carried, merge)
                )
            else:
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
        given = dict(properties or {})
        if self._delta_rs_location.is_reachable() and suits_delta_rs(rows.schema, given):
            given[WRITER] = DELTA_RS
            self._delta_rs_location.create(rows.schema, partition_by=partition_by, properties=given)
        else:
            given[WRITER] = SPARK
            self._spark_table.make(rows.schema, partition_by=partition_by, properties=given)
        return True

    def _written(self, commit: Commit, *, loaded: bool) -> Written:
        """What the commit did. One that has `loaded` the whole table decides who writes it from now on."""
        written = self._commits.written(commit)
        if loaded and self.decide_writer(run_id=commit.run_id) is not None:
            return replace(written, version=self.version())
        return written

    def _is_for_delta_rs(self, rows: Rows, *, or_fewer: bool = False) -> bool:
        """Whether delta-rs commits these rows, which the driver holds: it changes no columns, Spark does."""
        found = self._delta_rs_location.newest()
        if found is None or found.writer() != DELTA_RS or not suits_delta_rs(rows.schema, {}):
            return False
        return found.has_columns(rows.schema, or_fewer=or_fewer)
