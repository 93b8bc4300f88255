"""Commits to a Delta table: each one stores the progress of the run that made it, and a transaction number.

The progress of a run is stored in the same commit as the rows, so a killed run leaves both or neither. The next run
continues each table from its newest commit that has a progress.

The number is Delta's transaction id: the table's version at which the progress was read, plus one. If two runs continue
from the same progress, Delta rejects or skips the write of the second one. Both cases are an error here, so no rows are
lost or repeated silently.
"""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deltalake import CommitProperties
from deltalake.exceptions import CommitFailedError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from batch.delta.delta_rs import DeltaRsError, DeltaRsTable, commit_properties, named_errors
from batch.delta.log import NO_TABLE, DeltaLog
from batch.errors import BatchError
from batch.spark.session import configured

_METADATA = "spark.databricks.delta.commitInfo.userMetadata"
_TXN_APP = "spark.databricks.delta.write.txnAppId"
_TXN_VERSION = "spark.databricks.delta.write.txnVersion"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Written:
    """The version of a commit and its numbers of rows, as counted by the writer."""

    version: int
    rows_in: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0

    @property
    def rows_written(self) -> int:
        """Number of rows that the commit changed."""
        return self.rows_inserted + self.rows_updated + self.rows_deleted


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit that is about to be made.

    Attributes:
        before: the table's version before the commit.
        mark: a random id by which the commit is found in the log afterwards.
        note: JSON object with run id, progress and mark, which is stored in the commit.
        number: transaction number.
        run_id: id of the run that makes the commit.
    """

    before: int
    mark: str
    note: str
    number: int
    run_id: str


class Commits:
    """The commits to one table.

    Args:
        name: layer and table, as in `silver/orders`.
        commit_log: the table's log.
        version: returns the table's newest version, -1 if there is no table.
    """

    def __init__(self, spark: SparkSession, name: str, commit_log: DeltaLog, version: Callable[[], int]) -> None:
        self._spark = spark
        self._name = name
        self._log = commit_log
        self._version = version
        self._seen: int | None = None

    def progress(self) -> dict[str, Any]:
        """Return the progress in the newest commit that has one, {} if there is none; later writes continue from it."""
        newest = self._seen = self._version()
        for version in range(newest, NO_TABLE, -1):
            info = self._log.commit_info(version)
            if info is None:
                log.warning("%s: no progress in the remaining log; all data is read again", self._name)
                return {}
            progress = _noted(info).get("progress")
            if progress is not None:
                return dict(progress)
        return {}

    @contextlib.contextmanager
    def made(self, run_id: str, progress: Mapping[str, Any], **more: str) -> Iterator[Commit]:
        """Make one commit inside the block.

        Settings of the Spark session attach note and number to a commit by Spark; a write by delta-rs must attach those
        of the yielded commit itself.

        Args:
            more: further settings of the Spark session inside the block.

        Raises:
            BatchError: another run has already written from the same progress.
        """
        before = self._version()
        seen = before if self._seen is None else max(self._seen, 0)
        mark = uuid.uuid4().hex
        note = json.dumps({"run_id": run_id, "progress": dict(progress), "commit": mark})
        settings = {_METADATA: note, _TXN_APP: self._name, _TXN_VERSION: str(seen + 1), **more}
        with self._configured(settings):
            yield Commit(before=before, mark=mark, note=note, number=seen + 1, run_id=run_id)

    @contextlib.contextmanager
    def noting(self, run_id: str) -> Iterator[None]:
        """Make Spark's commits inside the block repeat the progress, so that it stays near the log's end.

        This is for commits of maintenance, such as compaction, which make no progress.
        """
        note = {"run_id": run_id, "progress": self.progress()}
        with self._configured({_METADATA: json.dumps(note)}):
            yield

    def write_by_delta_rs(
        self,
        commit: Commit,
        newest: Callable[[], DeltaRsTable | None],
        write: Callable[[DeltaRsTable, CommitProperties], None],
    ) -> None:
        """Write with delta-rs; if another commit comes first, write again on top of it, up to three times in all.

        Args:
            newest: returns the newest version of the table.
            write: writes to that version, with these properties of the commit.

        Raises:
            BatchError: another run has already written from the same progress.
            DeltaRsError: delta-rs could not write.
        """
        carried = commit_properties(commit.note, self._name, commit.number)
        for is_last in (False, False, True):
            table = newest()
            assert table is not None, f"delta-rs cannot reach {self._name}"
            if table.number(self._name) >= commit.number:
                raise self.overtaken()
            try:
                with named_errors("write", self._log.location):
                    write(table, carried)
                return
            except CommitFailedError as error:
                if self.found(commit) is not None:  # our own commit succeeded, but the response was lost
                    return
                if is_last:
                    raise self.overtaken() from error
            except DeltaRsError:
                if self.found(commit) is None:
                    raise
                log.warning("%s: committed, but delta-rs could not clean up the log", self._name, exc_info=True)
                return

    def written(self, commit: Commit) -> Written:
        """Return the result of a commit.

        Raises:
            BatchError: the log has no such commit, because another run was faster.
        """
        found = self.found(commit)
        if found is None:
            raise self.overtaken()
        return found

    def found(self, commit: Commit) -> Written | None:
        """Return the result of a commit; None if the log has no such commit."""
        newest = self._version()
        for version in range(newest, commit.before, -1):
            info = self._log.commit_info(version) or {}
            if _noted(info).get("commit") == commit.mark:
                self._seen = newest
                return _counted(version, info.get("operationMetrics", {}))
        return None

    def overtaken(self) -> BatchError:
        """Return the error for a write that was overtaken by another run."""
        layer, _, table = self._name.partition("/")
        text = "another run wrote the same rows meanwhile, so nothing was written: run again, one run at a time"
        return BatchError(text, layer=layer, table=table)

    @contextlib.contextmanager
    def _configured(self, settings: Mapping[str, str]) -> Iterator[None]:
        try:
            with configured(self._spark, settings):
                yield
        except PySparkException as error:
            if "ConcurrentTransaction" in str(error) or "CONCURRENT_TRANSACTION" in str(error):
                raise self.overtaken() from error
            raise


def _noted(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the note in a commit; {} if another program wrote the commit."""
    try:
        note = json.loads(info.get("userMetadata") or "{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _counted(version: int, metrics: Mapping[str, Any]) -> Written:
    """Return the result of a commit, from the metrics that its writer stored in it."""

    def count(name: str) -> int:
        return int(metrics.get(name, 0))

    if "numSourceRows" in metrics:  # merged by Spark
        return Written(
            version=version,
            rows_in=count("numSourceRows"),
            rows_inserted=count("numTargetRowsInserted"),
            rows_updated=count("numTargetRowsUpdated"),
            rows_deleted=count("numTargetRowsDeleted"),
        )
    if "num_source_rows" in metrics:  # merged by delta-rs
        return Written(
            version=version,
            rows_in=count("num_source_rows"),
            rows_inserted=count("num_target_rows_inserted"),
            rows_updated=count("num_target_rows_updated"),
            rows_deleted=count("num_target_rows_deleted"),
        )
    rows = count("num_added_rows" if "num_added_rows" in metrics else "numOutputRows")
    return Written(version=version, rows_in=rows, rows_inserted=rows)
