"""Executes one run over a dataset: the steps of its tables, in parallel if dependencies allow, then the manifest.

A table that fails does not stop the others: layers that depend on it continue with its previous version. The console
shows the error in one line, the layer's log in full. If the object storage is unreachable or full, the run ends.
"""

from __future__ import annotations

import itertools
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from deltalake.exceptions import DeltaError
from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark.errors import PySparkException

from batch.console.logs import layer_log
from batch.console.output import Say
from batch.context import LayerResult
from batch.errors import BatchError, SparkEndedError, StorageError
from batch.pipeline.job_record import JobRecord
from batch.pipeline.manifest import Manifest, Manifests, TableRun, new_run_id, progress_after, versions_after
from batch.pipeline.report import outcome_text
from batch.pipeline.scheduler import run_parallel
from config.dataset import DefinitionError

STEPS_AT_ONCE: Final = 2
"""Number of parallel steps; more than one, because the queries of one table keep only about one processor busy."""

OPERATING_ERRORS: Final = (BatchError, DefinitionError, PySparkException, Py4JError, DeltaError)
"""Errors that a person can act on, and errors of Spark and delta-rs; any other error is a bug and ends the process."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """The work of a run on one table.

    Attributes:
        after: names of the steps that must finish, successfully or not, before this one starts; other steps may run
            in parallel, each in a thread. None: the step waits for all earlier steps and runs alone.
    """

    layer: str
    table: str
    work: Callable[[], LayerResult]
    after: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """Layer and table, as in `silver/orders`."""
        return f"{self.layer}/{self.table}"


Plan = Callable[[str, datetime], Iterable[Step]]
"""A function that returns the ordered steps of a run, given the run's id and start."""


UpToDateCheck = Callable[[Manifest], list[TableRun] | None]
"""A function that proves that a run after this manifest would find nothing new.

It returns the unchanged outcome of each table, or None if there may be something new."""


def never_up_to_date(_previous: Manifest) -> list[TableRun] | None:
    """Return None, so that the run always makes a plan."""
    return None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a finished run; `is_new` if the run wrote a table or a table failed."""

    manifest: Manifest
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Executes the runs of one dataset.

    Attributes:
        plan: returns the steps of a run.
        say: prints a line.
        is_quiet: do not print unchanged tables, and write no manifest if nothing is new; set by the service.
        up_to_date_check: called before a plan is made; if it proves that nothing is new, no plan is made.
    """

    dataset: str
    manifests: Manifests
    record: JobRecord
    plan: Plan
    say: Say
    is_quiet: bool = False
    up_to_date_check: UpToDateCheck = never_up_to_date

    def run(self) -> Outcome:
        """Do one run.

        Raises:
            BatchError: the run could not start, the object storage became unreachable, or the manifest could not be
                written; committed work is kept, and the next run continues after it.
        """
        started = datetime.now(UTC)
        run_id = new_run_id(started)
        try:
            previous = self.manifests.newest(started)
            self.record.began(run_id, started)
            tables = self._unchanged(previous)
            if tables is None:
                tables = run_steps(self.plan(run_id, started), self.say, is_quiet=self.is_quiet)
            versions = versions_after(previous.versions if previous else {}, tables)
            manifest = Manifest(
                run_id=run_id,
                dataset=self.dataset,
                started_at=started,
                ended_at=datetime.now(UTC),
                tables=tables,
                versions=versions,
                progress=progress_after(previous.progress if previous else {}, tables),
            )
            is_new = bool(manifest.errors) or versions != (previous.versions if previous else {})
            if is_new or not self.is_quiet:
                self.manifests.write(manifest)
        except BaseException as error:
            self.record.ended(run_id, started, state="failed", error=brief(error))
            raise
        state = "failed" if manifest.errors else "done" if is_new else "nothing new"
        self.record.ended(run_id, started, state=state, tables=tables, error="\n".join(manifest.errors))
        return Outcome(manifest=manifest, is_new=is_new)

    def _unchanged(self, previous: Manifest | None) -> list[TableRun] | None:
        tables = None if previous is None else self.up_to_date_check(previous)
        if tables is not None and not self.is_quiet:
            self.say("nothing new in the archive since the last run; Spark was not started")
        return tables


def run_steps(steps: Iterable[Step], say: Say, *, is_quiet: bool = False) -> list[TableRun]:
    """Run the steps; return the outcome of each table, including failed ones, in the order of the steps."""
    found = []
    layer = ""
    for step, tables in _worked(steps):
        if step.layer != layer and not is_quiet:
            say(f"→ {step.layer}")
        layer = step.layer
        for table in tables:
            found.append(table)
            if not (is_quiet and table.unchanged):
                say(f"  {table.name:<28} {outcome_text(table)}")
    return found


def _worked(steps: Iterable[Step]) -> Iterator[tuple[Step, list[TableRun]]]:
    """Run the steps, and yield each one with its outcomes, in order.

    A step that runs alone is taken from the plan only after the step before it has finished.
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
        log.exception("%s failed after %.1f s", step.name, seconds)
        if isinstance(error, StorageError):
            raise
        text = brief(error).removeprefix(f"{step.name}: ")
        if isinstance(
            error, Py4JNetworkError | ConnectionError
        ):  # the latter arises while cleaning up after the former
            ended = f"{step.name}: Spark ended unexpectedly ({text}): see LOG_DIR/spark.log, then run the command again"
            raise SparkEndedError(ended) from None
        return [TableRun(layer=step.layer, table=step.table, seconds=seconds, error=text)]
    seconds = round(time.monotonic() - began, 1)
    # Tables written in the same step share its seconds, which are counted once.
    found = [_table_run(result, seconds), *(_table_run(each, 0.0) for each in result.also_written)]
    for table in found:
        log.info("%s: %s", table.name, outcome_text(table))
    return found


def _is_of_java(error: BaseException) -> bool:
    """Whether the connection to Java failed: after Java has ended, Py4J raises plain socket errors."""
    return "py4j" in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts


def _table_run(result: LayerResult, seconds: float) -> TableRun:
    return TableRun(
        layer=result.layer,
        table=result.table,
        version=result.version,
        unchanged=result.is_unchanged,
        rows_in=result.rows_in,
        rows_written=result.rows_written,
        rejected=dict(result.rejected),
        seconds=seconds,
        progress=dict(result.progress),
        note=result.note,
    )


def brief(error: BaseException) -> str:
    """Return an error as one line, without the stack trace of Java."""
    text = str(error.java_exception) if isinstance(error, Py4JJavaError) else str(error)
    if isinstance(error, BatchError | DefinitionError):
        return text
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
