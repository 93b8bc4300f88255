"""One run over a dataset: the steps of its tables, side by side where they say that they may; the manifest last.

A table that fails leaves the others at work: the layers below go on with what was there before. The error is named on
the console in one line, and in full in the layer's log. Without the object storage, or room on it, the run ends.
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

AT_ONCE: Final = 2
"""Steps side by side: the queries of one table keep one processor busy, whatever there is."""

OPERATING_ERRORS: Final = (BatchError, DefinitionError, PySparkException, Py4JError, DeltaError)
"""What a person can mend, or what Spark and delta-rs say; anything else is a mistake in the code, which ends it all."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a run does with one table.

    Attributes:
        after: the steps that have to be over before, whether they failed or not, by name; others may be at work beside
            it, each in a thread. None: all that stand before it, and nothing is at work beside it.
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
"""Makes a run's steps, in their order, from its id and its start."""


UpToDateCheck = Callable[[Manifest], list[TableRun] | None]
"""What a run after this manifest would say of each table, if it is proven that it finds nothing new; else None."""


def never_up_to_date(_previous: Manifest) -> list[TableRun] | None:
    """For runs that have to look themselves."""
    return None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A run that is over; `is_new` if it wrote something or failed."""

    manifest: Manifest
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs one dataset.

    Attributes:
        is_quiet: for a service: nothing is said about tables that had nothing new, and no manifest is left by a run
            that had nothing new at all.
        proof: asked before a plan is made.
    """

    dataset: str
    manifests: Manifests
    record: JobRecord
    plan: Plan
    say: Say
    is_quiet: bool = False
    up_to_date_check: UpToDateCheck = never_up_to_date

    def run(self) -> Outcome:
        """Do it once.

        Raises:
            BatchError: the run could not begin, the object storage went away, or the manifest could not be written;
                what is committed stays, and the next run goes on from there.
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
    """Work on each table; what came of it, errors included, in the order of the steps."""
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
    """Each step with what came of it, in their order; steps that stand alone are asked for one by one."""
    for is_alone, group in itertools.groupby(steps, key=lambda step: step.after is None):
        if is_alone:
            for step in group:
                yield step, _work(step)
        else:
            yield from run_parallel(list(group), _work, AT_ONCE)


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
        if isinstance(error, Py4JNetworkError | ConnectionError):  # the latter by what is cleared up after the former
            ended = f"{step.name}: Spark ended unexpectedly ({text}): see LOG_DIR/spark.log, then run the command again"
            raise SparkEndedError(ended) from None
        return [TableRun(layer=step.layer, table=step.table, seconds=seconds, error=text)]
    seconds = round(time.monotonic() - began, 1)
    # What was written beside the table took its share of the same seconds.
    found = [_table_run(result, seconds), *(_table_run(each, 0.0) for each in result.also_written)]
    for table in found:
        log.info("%s: %s", table.name, outcome_text(table))
    return found


def _is_of_java(error: BaseException) -> bool:
    """Whether it was the way to Java that broke: once Java has gone, Py4J lets errors of its sockets through."""
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
    """An error in one line: the message without the stack trace of Java."""
    text = str(error.java_exception) if isinstance(error, Py4JJavaError) else str(error)
    if isinstance(error, BatchError | DefinitionError):
        return text
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
