"""The runs of a dataset and the versions of its tables, as text for people and as JSON data for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from batch.console.output import columns
from batch.pipeline.manifest import Manifest, TableRun
from batch.pipeline.report import outcome_text


class Write(NamedTuple):
    """A run that wrote a version of a table in one layer, or failed to write one."""

    run: Manifest
    table: TableRun


def writes(runs: Iterable[Manifest], table: str) -> Iterator[Write]:
    """Yield the writes of a table, in the order of the runs; runs are only read as far as the caller asks for more."""
    for run in runs:
        for each in run.tables:
            if each.table == table and not each.unchanged:
                yield Write(run, each)


def format_runs(runs: Sequence[Manifest]) -> str:
    """Format the runs as a table with one line each."""
    rows = [("RUN", "STARTED", "SECONDS", "ROWS", "RULES", "")]
    for run in runs:
        started, failed = f"{run.started_at:%Y-%m-%d %H:%M:%S}Z", ", ".join(_failed(run))
        state = f"failed: {failed}" if failed else "done"
        rows.append((run.run_id, started, f"{run.seconds:.1f}", f"{_written(run):,}", f"{_rejected(run):,}", state))
    return columns(rows, right=(2, 3, 4))


def format_writes(found: Sequence[Write]) -> str:
    """Format the writes of a table with one line each."""
    rows = [("RUN", "LAYER", "VERSION", "")]
    for run, table in found:
        version = "-" if table.version is None else str(table.version)
        rows.append((run.run_id, table.layer, version, outcome_text(table)))
    return columns(rows, right=(2,))


def run_members(run: Manifest) -> dict[str, Any]:
    """Return a run as JSON data."""
    return {
        "run_id": run.run_id,
        "started_at": run.started_at.isoformat(),
        "seconds": run.seconds,
        "rows_written": _written(run),
        "rules_broken": _rejected(run),
        "failed": _failed(run),
    }


def write_members(found: Write) -> dict[str, Any]:
    """Return a write of a table as JSON data."""
    run, table = found
    return {
        "run_id": run.run_id,
        "layer": table.layer,
        "version": table.version,
        "rows_written": table.rows_written,
        "files": table.files,
        "rules_broken": sum(table.rejected.values()),
        "seconds": table.seconds,
        "error": table.error,
    }


def _written(run: Manifest) -> int:
    return sum(table.rows_written for table in run.tables)


def _rejected(run: Manifest) -> int:
    return sum(sum(table.rejected.values()) for table in run.tables)


def _failed(run: Manifest) -> list[str]:
    return [table.name for table in run.tables if table.error is not None]
