"""Commits to a Delta table, each of which stores the progress of the run that made it and a transaction number.

The progress is stored in the same commit as the rows, so a run that is killed leaves either both or neither. The next
run continues each table from the newest commit that contains progress.

The transaction number is the version in Delta's `txn` action: the table version at which the progress was read, plus
one. If two runs continue from the same progress, Delta rejects or skips the second run's write. This package raises an
error in both cases, so that rows are never lost or repeated silently.
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
    """The result of a commit: the new table version, and the numbers of rows and new files that the writer recorded."""

    version: int
    rows_in: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0
    files: int = 0

    @property
    def rows_written(self) -> int:
        """Number of rows that the commit inserted, updated or deleted."""
        return self.rows_inserted + self.rows_updated + self.rows_deleted


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit that is about to be made.

    Attributes:
        before: the table's version before the commit.
        mark: random id by which the commit can be found in the log afterwards.
        note: JSON object with the run id, the progress and the mark, to be stored in the commit.
        number: transaction number of the commit.
        run_id: id of the run that makes the commit.
    """

    before: int
    mark: str
    note: str
    number: int
    run_id: str


class Commits:
    """Makes the commits to one table, and finds earlier commits in its log.

    Args:
        name: layer and table, such as `silver/orders`.
        commit_log: the table's log.
        version: function that returns the table's newest version, or -1 if the table does not exist.
    """

    def __init__(self, spark: SparkSession, name: str, commit_log: DeltaLog, version: Callable[[], int]) -> None:
        self._spark = spark
        self._name = name
        self._log = commit_log
        self._version = version
        self._seen: int | None = None

    def progress(self) -> dict[str, Any]:
        """Return the newest progress in the log; {} if there is none.

        A later write fails if another run has meanwhile written from the same progress.
        """
        newest = self._seen = self._version()
        for version in range(newest, NO_TABLE, -1):
            info = self._log.commit_info(version)
            if info is None:
                log.warning("%s: the table's log no longer contains its progress; reading all input again", self._name)
                return {}
            progress = _noted(info).get("progress")
            if progress is not None:
                return dict(progress)
        return {}

    @contextlib.contextmanager
    def made(self, run_id: str, progress: Mapping[str, Any], **more: str) -> Iterator[Commit]:
        """Yield the commit that the `with` block must make.

        If Spark makes the commit, settings of the session attach the note and the transaction number to it. A write by
        delta-rs must attach the note and the number of the yielded commit itself.

        Args:
            more: further Spark session settings for the duration of the block.

        Raises:
            BatchError: another run has already committed from the same progress.
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
        """Make Spark's commits inside the `with` block store the table's current progress again.

        This keeps the progress near the end of the log during maintenance, such as compaction, which makes no progress.
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
        """Write with delta-rs; after a conflict with another commit, retry on the newest version, up to twice.

        Args:
            newest: function that returns the newest version of the table.
            write: function that writes to a version, with the given commit properties.

        Raises:
            BatchError: another run has already committed from the same progress.
            DeltaRsError: delta-rs could not write to the table.
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
                log.warning("%s: rows committed, but delta-rs could not clean up the log", self._name, exc_info=True)
                return

    def written(self, commit: Commit) -> Written:
        """Return the result of a finished commit.

        Raises:
            BatchError: the log does not contain the commit, because another run committed first.
        """
        found = self.found(commit)
        if found is None:
            raise self.overtaken()
        return found

    def found(self, commit: Commit) -> Written | None:
        """Return the result of a commit; None if the log does not contain it."""
        newest = self._version()
        for version in range(newest, commit.before, -1):
            info = self._log.commit_info(version) or {}
            if _noted(info).get("commit") == commit.mark:
                self._seen = newest
                return _counted(version, info.get("operationMetrics", {}))
        return None

    def overtaken(self) -> BatchError:
        """Return the error to raise if another run has committed first."""
        layer, _, table = self._name.partition("/")
        text = "another run wrote the same rows first, so nothing was written: run again, but only one run at a time"
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
    """Return the note that is stored in a commit, parsed; {} if another program made the commit."""
    try:
        note = json.loads(info.get("userMetadata") or "{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _counted(version: int, metrics: Mapping[str, Any]) -> Written:
    """Build the result of a commit from the metrics that its writer stored in the log."""

    def count(name: str) -> int:
        return int(metrics.get(name, 0))

    if "numSourceRows" in metrics:  # merged by Spark
        return Written(
            version=version,
            rows_in=count("numSourceRows"),
            rows_inserted=count("numTargetRowsInserted"),
            rows_updated=count("numTargetRowsUpdated"),
            rows_deleted=count("numTargetRowsDeleted"),
            files=count("numTargetFilesAdded"),
        )
    if "num_source_rows" in metrics:  # merged by delta-rs
        return Written(
            version=version,
            rows_in=count("num_source_rows"),
            rows_inserted=count("num_target_rows_inserted"),
            rows_updated=count("num_target_rows_updated"),
            rows_deleted=count("num_target_rows_deleted"),
            files=count("num_target_files_added"),
        )
    is_of_delta_rs = "num_added_rows" in metrics
    rows = count("num_added_rows" if is_of_delta_rs else "numOutputRows")
    files = count("num_added_files" if is_of_delta_rs else "numFiles")
    return Written(version=version, rows_in=rows, rows_inserted=rows, files=files)
