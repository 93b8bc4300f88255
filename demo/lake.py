"""The second part of the demo: fill the lake (Bronze, Silver, Gold) and compare it with the database."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from config.database_settings import DatabaseSettings
from config.definition import Definition
from config.settings import environment_with
from demo.customers import CustomersFile
from demo.progress import Progress
from demo.proof import LakeProof
from demo.workers import Worker
from ops.database import connected
from ops.dataset.bulk import OnDuplicate
from ops.dataset.generator.load import load_files
from ops.dataset.generator.plan import Plan
from stack.errors import StackError
from stack.record import last_lines
from stack.site import REPOSITORY

ARCHIVED_LIMIT_S: Final = 300.0
RECORDS_PER_TICK: Final = 100_000
BATCH_END_LIMIT_S: Final = 30.0
VERDICTS: Final = {0: "equal", 1: "different", 2: "behind"}
LAYERS: Final = ("bronze", "silver", "gold")
_PUBLISHED: Final = re.compile(r"  (?:s3a://)?([\w:/-]+)(?: in Redis)?: ([\d,]+) (?:rows|records)\b.*")
_POLL_S: Final = 0.5
_LOG_LINES: Final = 12


class LakePart:
    """The lake's part of the demo of any dataset: Bronze, Silver and Gold, and the comparison.

    Args:
        environment: settings with which programs reach the servers.
        logs: folder for the output of `python -m batch`.
    """

    def __init__(
        self, *, definition: Definition, environment: Mapping[str, str], logs: Path, progress: Progress
    ) -> None:
        self._definition = definition
        self._environment = {**environment, "DATASET": definition.name, "LOG_DIR": str(logs)}
        self._logs = logs
        self._progress = progress

    def fill(self, proof: LakeProof) -> None:
        """Fill Bronze, Silver and Gold, and add their rows to the proof.

        Raises:
            StackError: a table failed; the message has the last lines of the log.
        """
        with self._progress.phase("lake", "fill Bronze, Silver and Gold with Spark"):
            code, lines = self._batch("run")
            if code != 0:
                raise StackError(self._failure("run"))
        proof.lake_rows = rows_per_table(lines)
        proof.published = published_rows(lines)

    def compare(self, proof: LakeProof) -> None:
        """Compare stream and lake with the database, and add the verdict to the proof.

        Raises:
            StackError: the comparison could not be completed; the message has the last lines of the log.
        """
        with self._progress.phase("compare", f"compare {self._compared} with the database, row by row"):
            code, proof.comparison = self._batch("reconcile")
        proof.lake_verdict = VERDICTS.get(code, "failed")
        if code not in VERDICTS:
            raise StackError(self._failure("reconcile"))

    def _batch(self, command: str) -> tuple[int, list[str]]:
        return batch([command], self._environment, self._log(command), self._progress)

    def _failure(self, command: str) -> str:
        log = self._log(command)
        end = "\n".join(f"    {line}" for line in last_lines(log, _LOG_LINES))
        return f"`python -m batch {command}` failed; the last lines of {log}:\n{end}"

    def _log(self, command: str) -> Path:
        return self._logs / f"{command}.log"

    @property
    def _compared(self) -> str:
        return "the stream and the lake" if self._definition.completes_orders else "the lake"


class OrdersLake(LakePart):
    """The lake's part of the demo of complete orders, with customers and archive.

    Args:
        customers: the file of the customers.
        archive: the worker of `streams.archive`, which is started only after MinIO.
    """

    def __init__(self, *, plan: Plan, customers: CustomersFile, archive: Worker, **common: Any) -> None:
        super().__init__(**common)
        self._plan = plan
        self._database = DatabaseSettings.read(self._environment)
        self._customers = customers
        self._archive = archive

    def load_customers(self) -> None:
        """Load the customers as live changes, which Debezium reads even while MinIO is still being built.

        Raises:
            StackError: a row was rejected.
        """
        with self._progress.phase("customers", f"add {self._plan.customers:,} customers to the shop"):
            paths = {"customers": self._customers.path()}
            load_files(self._database, self._definition, paths, OnDuplicate.FAIL, lambda line: self._progress.tick())

    def archive_changes(self) -> None:
        """Archive every change; no row was updated, so the number of changes is the number of rows.

        Raises:
            StackError: the worker ended, or the time limit was exceeded.
        """
        with connected(self._database, self._definition.database) as connection:
            names = [connection.quoted(table.name) for table in self._definition.tables]
            changes = sum(int(connection.value(f"SELECT COUNT(*) FROM {name}")) for name in names)  # noqa: S608
        with self._progress.phase("archive", f"archive the {changes:,} changes in object storage"):
            archive_all(self._archive, changes, self._progress)


def archive_all(worker: Worker, records: int, progress: Progress) -> None:
    """Run the archive worker until it has stored the given number of records in object storage.

    Raises:
        StackError: the worker ended, or the time limit was exceeded.
    """
    worker.start()
    try:
        worker.wait_ready()
        deadline = time.monotonic() + ARCHIVED_LIMIT_S
        ticks = 0
        while (done := archived(worker)) < records:
            if not worker.is_running() or time.monotonic() > deadline:
                raise StackError(f"only {done:,} of {records:,} changes were archived: see {worker.log}")
            if ticks < done // RECORDS_PER_TICK:
                ticks = done // RECORDS_PER_TICK
                progress.tick()
            time.sleep(_POLL_S)
    finally:
        worker.stop()


def archived(worker: Worker) -> int:
    """Return the number of records that the worker has stored in object storage."""
    stats = worker.stats()
    return 0 if stats is None else int(stats["archive"].get("records", 0))


def batch(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path, progress: Progress
) -> tuple[int, list[str]]:
    """Run `python -m batch` with all its output in `log`; return its exit code, and the lines that it printed.

    Java's warnings are on standard error, and so only in the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", buffering=1) as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "batch", *arguments],
            env=environment_with({**environment, "PYTHONUNBUFFERED": "1"}),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            start_new_session=True,  # so that Ctrl-C reaches only the demo, which then ends this process and its Java
        )
        lines: list[str] = []
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                lines.append(line.rstrip())
                progress.tick()
            return process.wait(), lines
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """End an interrupted process; if it does not end in time, kill it with the processes that it started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(BATCH_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def published_rows(lines: Sequence[str]) -> dict[str, int]:
    """Parse the number of rows that `batch run` wrote outside the lake's tables; keys are places, without the store."""
    found = (_PUBLISHED.fullmatch(line) for line in lines)
    return {match[1]: int(match[2].replace(",", "")) for match in found if match}


def rows_per_table(lines: Sequence[str]) -> dict[str, int]:
    """Parse the number of rows written to each table from the output of `batch run`; keys are `layer/table`."""
    found = {}
    for line in lines:
        cells = line.split()
        if len(cells) >= 6 and cells[0] in LAYERS and cells[2].replace(",", "").isdecimal():
            found[f"{cells[0]}/{cells[1]}"] = int(cells[2].replace(",", ""))
    return found
