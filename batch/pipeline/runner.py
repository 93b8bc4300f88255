"""Executes runs of a dataset: the steps of all tables, in parallel where dependencies allow, then the manifest.

A table that fails does not stop the others: tables that depend on it are built from its previous version. The console
shows the error in one line, and the log of the layer shows it in full. The run itself fails if the object storage is
unreachable or full, or if Spark's Java process ends.
"""

from __future__ import annotations

import itertools
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from deltalake.exceptions import DeltaError
from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark.errors import PySparkException

from batch.console.logs import layer_log
from batch.console.output import Say
from batch.console.values import without_values
from batch.context import LayerResult
from batch.errors import BatchError, SparkEndedError, StorageError
from batch.pipeline.job_record import JobRecord
from batch.pipeline.manifest import (
    Manifest,
    Manifests,
    TableRun,
    drift_after,
    new_run_id,
    progress_after,
    versions_after,
)
from batch.pipeline.report import outcome_text
from batch.pipeline.scheduler import run_parallel
from config.dataset import DefinitionError

STEPS_AT_ONCE: Final = 2
"""Number of steps that run in parallel; more than one, because one table's queries use only about one processor."""

OPERATING_ERRORS: Final = (BatchError, DefinitionError, PySparkException, Py4JError, DeltaError)
"""Errors that an operator can fix, and errors of Spark and delta-rs; any other error is a bug and ends the process."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of a run, which updates one table.

    Attributes:
        work: updates the table.
        after: names of the steps that must finish, successfully or not, before this step starts; it may run in parallel
            with other steps. None: the step waits for all earlier steps and runs alone.
        reads: names of the steps that write the tables which this step reads.
        refers_to: names of the steps that write the dimensions to which this step's fact refers.
    """

    layer: str
    table: str
    work: Callable[[], LayerResult]
    after: frozenset[str] | None = None
    reads: frozenset[str] = frozenset()
    refers_to: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The layer and the table, such as `silver/orders`."""
        return f"{self.layer}/{self.table}"


Plan = Callable[[str, datetime], Iterable[Step]]
"""A function that returns the steps of a run in order, given the run's id and start time."""

UpToDateCheck = Callable[[Manifest], list[TableRun] | None]
"""A function that checks whether there is new input since the run of the given manifest.

It returns an unchanged outcome for each table, or None if there may be new input."""


def never_up_to_date(_previous: Manifest) -> list[TableRun] | None:
    """Return None, so that every run executes its plan (the default `UpToDateCheck`)."""
    return None


def publish_nothing(_manifest: Manifest) -> None:
    """Publish no results."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a finished run.

    Attributes:
        is_new: whether the run wrote a table, or a table failed.
    """

    manifest: Manifest
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class Runner:
    """The executor of the runs of one dataset.

    Attributes:
        plan: returns the steps of a run.
        say: prints a line to the console.
        is_quiet: do not print unchanged tables, and write no manifest if nothing is new; set by the service.
        publish: publishes results of Gold, after each run.
        up_to_date_check: called before `plan`; if there is no new input, `plan` is not called.
    """

    dataset: str
    manifests: Manifests
    record: JobRecord
    plan: Plan
    say: Say
    is_quiet: bool = False
    up_to_date_check: UpToDateCheck = never_up_to_date
    publish: Callable[[Manifest], None] = publish_nothing

    def run(self) -> Outcome:
        """Execute one run, and return its outcome.

        Raises:
            BatchError: the run could not start, the object storage became unreachable, Spark's Java process ended, or
                the manifest could not be written. Committed tables are kept; the next run continues from there.
        """
        started = datetime.now(UTC)
        run_id = new_run_id(started)
        try:
            previous = self.manifests.newest(started)
            self.record.began(run_id, started)
            tables = self._unchanged(previous)
            if tables is None:
                tables = run_steps(self.plan(run_id, started), self.say, is_quiet=self.is_quiet)
            # Another run may have ended meanwhile, without the lease: what it published stays published.
            previous = self.manifests.newest(datetime.now(UTC))
            versions = versions_after(previous.versions if previous else {}, tables)
            manifest = Manifest(
                run_id=run_id,
                dataset=self.dataset,
                started_at=started,
                ended_at=datetime.now(UTC),
                tables=tables,
                versions=versions,
                progress=progress_after(previous.progress if previous else {}, tables),
                drift=drift_after(previous, tables),
            )
            is_new = bool(manifest.errors) or versions != (previous.versions if previous else {})
            is_new |= manifest.drift != (previous.drift if previous else {})
            self._show(manifest, previous, is_new=is_new)
        except BaseException as error:
            self.record.ended(run_id, started, state="failed", error=brief(error))
            raise
        state = "failed" if manifest.errors else "done" if is_new else "nothing new"
        self.record.ended(
            run_id, started, state=state, tables=tables, error="\n".join(manifest.errors), drift=manifest.drift
        )
        return Outcome(manifest=manifest, is_new=is_new)

    def _show(self, manifest: Manifest, previous: Manifest | None, *, is_new: bool) -> None:
        """Let readers see what the run made: the manifest first, then what is made of the tables that it lists."""
        if is_new or not self.is_quiet:
            self.manifests.write(manifest)
            self.publish(manifest)
        elif previous is not None:
            self.publish(previous)  # an earlier run may have ended between its manifest and its publication

    def _unchanged(self, previous: Manifest | None) -> list[TableRun] | None:
        tables = None if previous is None else self.up_to_date_check(previous)
        if tables is not None and not self.is_quiet:
            self.say("nothing new in the archive since the last run; Spark was not started")
        return tables


def run_steps(steps: Iterable[Step], say: Say, *, is_quiet: bool = False) -> list[TableRun]:
    """Run the steps, print the outcome of each table, and return all outcomes in the order of the steps."""
    found = []
    layer = ""
    failed: dict[str, set[str]] = {}  # for each step, the failed steps that its tables depend on
    done: list[tuple[Step, list[TableRun]]] = []
    for step, tables in _worked(steps):
        done.append((step, tables))
        failed[step.name] = set().union(*(failed.get(name, ()) for name in step.reads))
        for table in tables:
            table.behind = sorted(failed[step.name])
        failed[step.name] |= {step.name for table in tables if table.error is not None}
        if step.layer != layer and not is_quiet:
            say(f"→ {step.layer}")
        layer = step.layer
        for table in tables:
            found.append(table)
            if not (is_quiet and table.unchanged and not table.note):
                say(f"  {table.name:<28} {outcome_text(table)}")
    _hold_back(done)
    return found


def _hold_back(done: Sequence[tuple[Step, list[TableRun]]]) -> None:
    """Mark the facts that refer to a dimension which failed, so that they are not published without it."""
    errors = {step.name for step, tables in done if any(table.error is not None for table in tables)}
    for step, tables in done:
        for table in tables:
            table.held_by = sorted(step.refers_to & errors)


def _worked(steps: Iterable[Step]) -> Iterator[tuple[Step, list[TableRun]]]:
    """Run the steps, and yield each step with the outcomes of its tables, in order.

    A step that runs alone is fetched from `steps` only after the previous step has finished.
    """
    for is_alone, group in itertools.groupby(steps, key=lambda step: step.after is None):
        if is_alone:
            for step in group:
                yield step, _work(step)
        else:
            yield from run_parallel(list(group), _work, STEPS_AT_ONCE)


def _work(step: Step) -> list[TableRun]:
    log = layer_log(step.layer)
    began = time.monotonic()
    try:
        result = step.work()
    except (*OPERATING_ERRORS, ConnectionError) as error:
        if isinstance(error, ConnectionError) and not _is_of_java(error):
            raise
        seconds = round(time.monotonic() - began, 1)
        log.error("%s failed after %.1f s\n%s", step.name, seconds, without_values(traceback.format_exc()))
        if isinstance(error, StorageError):
            raise
        text = brief(error).removeprefix(f"{step.name}: ")
        # After a Py4JNetworkError, Py4J raises a ConnectionError while it cleans up.
        if isinstance(error, Py4JNetworkError | ConnectionError):
            ended = f"{step.name}: Spark ended unexpectedly ({text}): see LOG_DIR/spark.log, then run the command again"
            raise SparkEndedError(ended) from None
        return [TableRun(layer=step.layer, table=step.table, seconds=seconds, error=text)]
    seconds = round(time.monotonic() - began, 1)
    # If a step writes several tables, its duration is assigned to the first one, so that a sum counts it only once.
    found = [_table_run(result, seconds), *(_table_run(each, 0.0) for each in result.also_written)]
    for table in found:
        log.info("%s: %s", table.name, outcome_text(table))
    return found


def _is_of_java(error: BaseException) -> bool:
    """Return whether a socket error comes from Py4J, which raises such errors after Spark's Java process has ended."""
    return "py4j" in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts


def _table_run(result: LayerResult, seconds: float) -> TableRun:
    return TableRun(
        layer=result.layer,
        table=result.table,
        version=result.version,
        unchanged=result.is_unchanged,
        rows_in=result.rows_in,
        rows_written=result.rows_written,
        files=result.files,
        rejected=dict(result.rejected),
        seconds=seconds,
        progress=dict(result.progress),
        note=result.note,
        drift=None if result.drift is None else list(result.drift),
    )


def brief(error: BaseException) -> str:
    """Return an error's message; for errors of Spark, Java and libraries, only the type and first line."""
    text = str(error.java_exception) if isinstance(error, Py4JJavaError) else str(error)
    if isinstance(error, BatchError | DefinitionError):
        return text
    lines = (line.strip() for line in without_values(text).splitlines())  # a value may have several lines
    first = next((line for line in lines if line), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
