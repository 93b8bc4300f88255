"""Commits to a Delta table: each carries the progress of the run that made it, and a number.

What a run has done up to is in the commit that holds the rows, so both are there or neither: a killed run is continued
table by table, from the newest commit that has a progress. A write is numbered with Delta's transaction ids: its number
follows the version that the progress was read at. So of two runs that continue from the same progress, Delta refuses or
skips the second one's write; both are an error here, never a silent loss or repetition.
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
    """One commit and its rows, as Delta counted them."""

    version: int
    rows_in: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0

    @property
    def rows_written(self) -> int:
        """Rows that are other than before."""
        return self.rows_inserted + self.rows_updated + self.rows_deleted


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit to be made.

    Attributes:
        before: the version before it.
        mark: by which it is found again.
        note: what it says of itself.
        number: of its transaction.
        run_id: of the run that makes it.
    """

    before: int
    mark: str
    note: str
    number: int
    run_id: str


class Commits:
    """Commits to the table `name`, which has this log; `version` tells its newest version, -1 if there is no table."""

    def __init__(self, spark: SparkSession, name: str, commit_log: DeltaLog, version: Callable[[], int]) -> None:
        self._spark = spark
        self._name = name
        self._log = commit_log
        self._version = version
        self._seen: int | None = None

    def progress(self) -> dict[str, Any]:
        """What the newest commit with a progress says; {} if there is none. Writes continue from here."""
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
        """Write in here, by Spark or with what the commit is given to carry; `more` are settings of the session.

        Raises:
            BatchError: another run wrote from the same progress.
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
        """Let commits that change no rows (compaction) repeat the progress, so that it stays near the log's end."""
        note = {"run_id": run_id, "progress": self.progress()}
        with self._configured({_METADATA: json.dumps(note)}):
            yield

    def write_by_delta_rs(
        self,
        commit: Commit,
        newest: Callable[[], DeltaRsTable | None],
        write: Callable[[DeltaRsTable, CommitProperties], None],
    ) -> None:
        """Write to the newest version by delta-rs; a commit that another one has overtaken is made again on top of it.

        Raises:
            BatchError: another run wrote from the same progress.
            DeltaRsError: delta-rs could not write.
        """
        carried = commit_properties(commit.note, self._name, commit.number)
        for is_last in (False, False, True):
            table = newest()
            assert table is not None, f"{self._name} is out of reach of delta-rs"
            if table.number(self._name) >= commit.number:
                raise self.overtaken()
            try:
                with named_errors("write", self._log.location):
                    write(table, carried)
                return
            except CommitFailedError as error:
                if self.found(commit) is not None:  # it was our own, and the answer to it was lost
                    return
                if is_last:
                    raise self.overtaken() from error
            except DeltaRsError:
                if self.found(commit) is None:
                    raise
                log.warning("%s: committed, but delta-rs could not tidy the log", self._name, exc_info=True)
                return

    def written(self, commit: Commit) -> Written:
        """What a commit did.

        Raises:
            BatchError: it is not there.
        """
        found = self.found(commit)
        if found is None:
            raise self.overtaken()
        return found

    def found(self, commit: Commit) -> Written | None:
        """What a commit did; None if it is not there."""
        newest = self._version()
        for version in range(newest, commit.before, -1):
            info = self._log.commit_info(version) or {}
            if _noted(info).get("commit") == commit.mark:
                self._seen = newest
                return _counted(version, info.get("operationMetrics", {}))
        return None

    def overtaken(self) -> BatchError:
        """The error of a run that another one was faster than."""
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
    """Our note in a commit; {} if it is of someone else."""
    try:
        note = json.loads(info.get("userMetadata") or "{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _counted(version: int, metrics: Mapping[str, Any]) -> Written:
    """What a commit did, from the figures that its writer left in it."""

    def count(name: str) -> int:
        return int(metrics.get(name, 0))

    if "numSourceRows" in metrics:  # a merge by Spark
        return Written(
            version=version,
            rows_in=count("numSourceRows"),
            rows_inserted=count("numTargetRowsInserted"),
            rows_updated=count("numTargetRowsUpdated"),
            rows_deleted=count("numTargetRowsDeleted"),
        )
    if "num_source_rows" in metrics:  # by delta-rs
        return Written(
            version=version,
            rows_in=count("num_source_rows"),
            rows_inserted=count("num_target_rows_inserted"),
            rows_updated=count("num_target_rows_updated"),
            rows_deleted=count("num_target_rows_deleted"),
        )
    rows = count("num_added_rows" if "num_added_rows" in metrics else "numOutputRows")
    return Written(version=version, rows_in=rows, rows_inserted=rows)
