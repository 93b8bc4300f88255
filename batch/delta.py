"""A Delta table of the lake: every commit carries the progress of the run that made it.

What a run has done up to is in the commit that holds the rows, so both are there or neither: a killed run is continued
table by table, from the newest commit that has a progress. A write is numbered with Delta's transaction ids: its number
follows the version that the progress was read at. So of two runs that continue from the same progress, Delta refuses or
skips the second one's write; both are an error here, never a silent loss or repetition.

Writes set the session's configuration: a session is of one thread at a time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delta.tables import DeltaTable
from deltalake import CommitProperties
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StringType, StructField, StructType

from batch.commit import Written, counted, noted
from batch.delta_log import NO_TABLE, DeltaLog
from batch.errors import BatchError
from batch.local import FEW, Brought, Rows, few_or_all, frame
from batch.native import LARGEST, NEVER, Merge, NativeTable, commit_properties
from batch.snapshot import Snapshot

CHANGE_FEED = {"delta.enableChangeDataFeed": "true"}
DELETION_VECTORS = {"delta.enableDeletionVectors": "true"}

_METADATA = "spark.databricks.delta.commitInfo.userMetadata"
_TXN_APP = "spark.databricks.delta.write.txnAppId"
_TXN_VERSION = "spark.databricks.delta.write.txnVersion"
_SMALLEST = "spark.databricks.delta.optimize.minFileSize"
_LARGEST = "spark.databricks.delta.optimize.maxFileSize"
_CHECK_RETENTION = "spark.databricks.delta.retentionDurationCheck.enabled"
_LOG_VACUUM = "spark.databricks.delta.vacuum.logging.enabled"
_EVOLVE = "spark.databricks.delta.schema.autoMerge.enabled"

log = logging.getLogger("batch.delta")


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Data files of a version, and their bytes."""

    files: int
    size: int


@dataclass(frozen=True, kw_only=True)
class _Commit:
    """A commit to be made.

    Attributes:
        before: the version before it.
        mark: by which it is found again.
        note: what it says of itself.
        number: of its transaction.
    """

    before: int
    mark: str
    note: str
    number: int


class LakeTable:
    """The Delta table at `path`; `name` is layer and table, as in `silver/orders`."""

    def __init__(self, spark: SparkSession, path: str, name: str) -> None:
        self.path = path
        self.name = name
        self.spark = spark
        self._log = DeltaLog(spark, path)
        self._seen: int | None = None

    def exists(self) -> bool:
        """Whether there is a table."""
        return self.version() != NO_TABLE

    def version(self) -> int:
        """The newest version; -1 if there is no table."""
        return self._newest().version()

    def size(self) -> int:
        """Bytes of the newest version's data files; 0 if there is no table."""
        return self.extent().size

    def property(self, name: str) -> str | None:
        """A property of the table; None if it has none of this name, or if there is no table."""
        return self._newest().property(name)

    def read(self, version: int | None = None) -> DataFrame:
        """The rows, of the newest or of an older version."""
        reader = self.spark.read.format("delta")
        return (reader if version is None else reader.option("versionAsOf", version)).load(self.path)

    def at(self, version: int | None = None) -> Snapshot:
        """The rows of the newest, or of an older version, to look some of them up."""
        return Snapshot(self, self.version() if version is None else version)

    def native(self, version: int | None = None) -> NativeTable | None:
        """A version (default: the newest) for this process; None if it is too large, or only Spark can reach it."""
        found = NativeTable.at(self.spark, self._log.location, version)
        return found if found is not None and found.extent()[1] <= LARGEST else None

    def progress(self) -> dict[str, Any]:
        """What the newest commit with a progress says; {} if there is none. Writes continue from here."""
        newest = self._seen = self.version()
        for version in range(newest, NO_TABLE, -1):
            info = self._log.commit_info(version)
            if info is None:
                log.warning("%s: the log does not reach back to a progress: all is read again", self.name)
                return {}
            progress = noted(info).get("progress")
            if progress is not None:
                return dict(progress)
        return {}

    def changed_since(self, version: int) -> Rows | None:
        """The change data feed after `version`; None if it is gone, or was never kept."""
        newest = self.version()
        if not 0 <= version <= newest or self.property("delta.enableChangeDataFeed") != "true":
            return None
        if version == newest:  # Delta refuses a range without commits
            return self._feed(newest).where("false")
        if not all(self._log.has_changes_of(each) for each in range(version + 1, newest + 1)):
            return None
        native = self.native(newest)
        found = None if native is None else native.changes(version + 1, newest, most=FEW)
        if native is None or found is None:
            return few_or_all(self._feed(version + 1, newest))
        return Brought(self.spark, StructType([*native.schema, StructField("_change_type", StringType())]), found)

    def append(
        self,
        rows: Rows,
        *,
        run_id: str,
        progress: Mapping[str, Any],
        partition_by: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
    ) -> Written:
        """Add rows; columns that the table lacks are added to it. The last two are for a table that is made here."""
        self._make(rows, partition_by, properties)
        with self._commit(run_id, progress) as commit:
            if not isinstance(rows, Brought) or not self._is_written_here(
                rows.schema.names, commit, lambda table, carried: table.append(rows.table, carried)
            ):
                frame(rows).write.format("delta").mode("append").option("mergeSchema", "true").save(self.path)
        return self._written(commit)

    def note(self, *, run_id: str, progress: Mapping[str, Any]) -> Written:
        """Write nothing but the progress."""
        return self.append(self.at().few(where="false"), run_id=run_id, progress=progress)

    def replace(
        self,
        rows: Rows,
        *,
        run_id: str,
        progress: Mapping[str, Any],
        partition_by: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
    ) -> Written:
        """Put rows, and their columns, in the place of all there were; readers see the old or the new ones."""
        if self._make(rows, partition_by, properties):
            return self.append(rows, run_id=run_id, progress=progress)
        self.have(properties or {})
        with self._commit(run_id, progress) as commit:
            writer = frame(rows).write.format("delta").mode("overwrite").option("overwriteSchema", "true")
            writer.partitionBy(*partition_by).save(self.path)
        return self._written(commit)

    def merge(
        self,
        rows: Rows,
        *,
        on: str,
        set_when: str | None,
        insert_when: str | None = None,
        delete_when: str | None = None,
        evolve: bool = True,
        run_id: str,
        progress: Mapping[str, Any],
        partition_by: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
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
        self._make(rows, partition_by, properties)
        merge = Merge(on=on, set_when=set_when, insert_when=insert_when, delete_when=delete_when)
        with self._commit(run_id, progress, **{_EVOLVE: str(evolve).lower()}) as commit:
            if not isinstance(rows, Brought) or not self._is_written_here(
                rows.schema.names,
                commit,
                lambda table, carried: table.merge(rows.table, carried, merge),
                has_more=not evolve,
            ):
                self._merge(frame(rows), merge)
        return self._written(commit)

    def have(self, properties: Mapping[str, str]) -> None:
        """Give the table the properties that it lacks."""
        lacking = {name: value for name, value in properties.items() if self.property(name) != value}
        if lacking:
            listed = ", ".join(f"'{name}' = '{value}'" for name, value in lacking.items())
            self.spark.sql(f"ALTER TABLE delta.`{self._log.location}` SET TBLPROPERTIES ({listed})")

    @contextlib.contextmanager
    def noting(self, run_id: str) -> Iterator[None]:
        """Let commits that change no rows (compaction) repeat the progress, so that it stays near the log's end."""
        note = {"run_id": run_id, "progress": self.progress()}
        with self._configured({_METADATA: json.dumps(note)}):
            yield

    def extent(self) -> Extent:
        """What the newest version consists of; nothing if there is no table."""
        if not self.exists():
            return Extent(files=0, size=0)
        files, size = self._newest().extent()
        return Extent(files=files, size=size)

    def stored_bytes(self) -> int:
        """Bytes of all files in the table's folder, those of older versions and the log included."""
        return self._log.stored_bytes()

    def remove(self, condition: str, *, run_id: str) -> int:
        """Delete the rows for which the condition holds; how many there were."""
        count = self.read().where(condition).count()
        if count:
            with self.noting(run_id):
                DeltaTable.forPath(self.spark, self.path).delete(condition)
        return count

    def compact(self, *, file_bytes: int, run_id: str) -> None:
        """Put small files of a partition together into files of about this size."""
        sizes = {_SMALLEST: str(file_bytes * 3 // 4), _LARGEST: str(file_bytes)}
        with self.noting(run_id), self._configured(sizes):
            DeltaTable.forPath(self.spark, self.path).optimize().executeCompaction()

    def vacuum(self, *, keep_s: float) -> None:
        """Delete the files that no version of this time needs."""
        with self._configured({_CHECK_RETENTION: "false", _LOG_VACUUM: "false"}):
            DeltaTable.forPath(self.spark, self.path).vacuum(keep_s / 3600)

    def _newest(self) -> NativeTable | DeltaLog:
        """The newest version; by Spark's own reading of the log, which takes jobs, only where there is no other way."""
        try:
            return NativeTable.at(self.spark, self._log.location) or self._log
        except TableNotFoundError:
            return self._log

    def _make(self, rows: Rows, partition_by: Sequence[str], properties: Mapping[str, str] | None) -> bool:
        """Make the table, without rows, if there is none; whether there was none."""
        if self.exists():
            return False
        there = self._log.location
        given = properties or {}
        if not NativeTable.is_made(self.spark, there, rows.schema, partition_by=partition_by, properties=given):
            maker = DeltaTable.createIfNotExists(self.spark).location(there).addColumns(rows.schema)
            maker = maker.partitionedBy(*partition_by) if partition_by else maker
            for name, value in given.items():
                maker = maker.property(name, value)
            maker.execute()
        return True

    def _merge(self, rows: DataFrame, asked: Merge) -> None:
        merge = DeltaTable.forPath(self.spark, self.path).alias("t").merge(rows.alias("s"), asked.on)
        if asked.delete_when is not None:
            merge = merge.whenMatchedDelete(condition=asked.delete_when)
        if asked.set_when is not None:
            merge = merge.whenMatchedUpdateAll(condition=asked.set_when)
        if asked.insert_when != NEVER:
            merge = merge.whenNotMatchedInsertAll(condition=asked.insert_when)
        merge.execute()

    def _is_written_here(
        self,
        names: Sequence[str],
        commit: _Commit,
        write: Callable[[NativeTable, CommitProperties], None],
        *,
        has_more: bool = False,
    ) -> bool:
        """Write rows with these columns (the table's own, or some more) in this process, if that can be done.

        What another commit has overtaken is done again on the rows that it has left.
        """
        carried = commit_properties(commit.note, self.name, commit.number)
        for is_last in (False, False, True):
            table = self.native()
            if table is None or not table.takes(names, has_more=has_more):
                return False
            if table.number(self.name) >= commit.number:
                raise self._overtaken()
            try:
                write(table, carried)
                break
            except CommitFailedError as error:
                if self._found(commit) is not None:  # it was our own, and the answer to it was lost
                    break
                if is_last:
                    raise self._overtaken() from error
            except DeltaError:
                log.warning("%s: not written by delta-rs, so Spark is asked", self.name, exc_info=True)
                return False
        return True

    @contextlib.contextmanager
    def _commit(self, run_id: str, progress: Mapping[str, Any], **more: str) -> Iterator[_Commit]:
        """Write in here, by Spark or with what the commit is given to carry."""
        before = self.version()
        seen = before if self._seen is None else max(self._seen, 0)
        mark = uuid.uuid4().hex
        note = json.dumps({"run_id": run_id, "progress": dict(progress), "commit": mark})
        settings = {_METADATA: note, _TXN_APP: self.name, _TXN_VERSION: str(seen + 1), **more}
        with self._configured(settings):
            yield _Commit(before=before, mark=mark, note=note, number=seen + 1)

    @contextlib.contextmanager
    def _configured(self, settings: Mapping[str, str]) -> Iterator[None]:
        for name, value in settings.items():
            self.spark.conf.set(name, value)
        try:
            yield
        except PySparkException as error:
            if "ConcurrentTransaction" in str(error) or "CONCURRENT_TRANSACTION" in str(error):
                raise self._overtaken() from error
            raise
        finally:
            for name in settings:
                self.spark.conf.unset(name)

    def _written(self, commit: _Commit) -> Written:
        found = self._found(commit)
        if found is None:
            raise self._overtaken()
        return found

    def _found(self, commit: _Commit) -> Written | None:
        newest = self.version()
        for version in range(newest, commit.before, -1):
            info = self._log.commit_info(version) or {}
            if noted(info).get("commit") == commit.mark:
                self._seen = newest
                return counted(version, info.get("operationMetrics", {}))
        return None

    def _overtaken(self) -> BatchError:
        layer, _, table = self.name.partition("/")
        text = "another run wrote the same rows meanwhile, so nothing was written: run again, one run at a time"
        return BatchError(text, layer=layer, table=table)

    def _feed(self, first: int, last: int | None = None) -> DataFrame:
        reader = self.spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", first)
        return (reader if last is None else reader.option("endingVersion", last)).load(self.path)
