"""Formats the outcome of a run and of its tables, for the console and the logs."""

from __future__ import annotations

from collections.abc import Sequence

from batch.console.output import Say, columns
from batch.pipeline.manifest import Manifest, TableRun


def print_outcome(manifest: Manifest, say: Say, *, is_new: bool) -> None:
    """Print the result of a single run: one line for each table, then one for the whole run."""
    say("")
    say(summary(manifest.tables))
    for name, found in sorted(manifest.drift.items()):
        say(f"{name}: the columns of the source differ from the definition: {'; '.join(found)}")
    if manifest.errors:
        failed = f"{len(manifest.errors)} of {len(manifest.tables)} tables FAILED"
        behind = [table.name for table in manifest.tables if (table.behind or table.held_by) and table.error is None]
        if behind:
            rest = f"{len(behind)} depend on a failed table and may be behind ({', '.join(behind)}); the others are"
        else:
            rest = "the other tables are"
        say(f"run {manifest.run_id}: {failed}; {rest} up to date; the layers' logs have the details")
    elif is_new:
        say(f"run {manifest.run_id} is done ({manifest.seconds:.1f} s)")
    else:
        say(f"nothing new: no table was written ({manifest.seconds:.1f} s)")


def print_line(manifest: Manifest, say: Say, *, is_new: bool) -> None:
    """Print one line with the result of a run of the service."""
    now = f"{manifest.ended_at:%Y-%m-%d %H:%M:%S}Z"
    if not is_new:
        say(f"{now} nothing new ({manifest.seconds:.1f} s)")
        return
    rows = sum(table.rows_written for table in manifest.tables)
    failed = f", {len(manifest.errors)} tables FAILED" if manifest.errors else ""
    say(f"{now} run {manifest.run_id}: {rows:,} rows written{failed} ({manifest.seconds:.1f} s)")


def outcome_text(table: TableRun) -> str:
    """Return the outcome of a run for one table, such as `120 rows written in 1 file, version 3 (1.2 s)`."""
    if table.error is not None:
        return f"FAILED after {table.seconds:.1f} s: {table.error}"
    rejected = "".join(f", {count:,} × {rule}" for rule, count in sorted(table.rejected.items()))
    note = "".join(f", {part}" for part in (table.note, *(table.drift or ())) if part)
    if table.unchanged:
        return f"nothing new{rejected}{note} ({table.seconds:.1f} s)"
    files = f" in {table.files} file{'s' if table.files > 1 else ''}" if table.files else ""
    return (
        f"{table.rows_written:,} rows written{files}{rejected}{note}, version {table.version} ({table.seconds:.1f} s)"
    )


def summary(tables: Sequence[TableRun]) -> str:
    """Return the outcomes of all tables as aligned columns, with one line for each table."""
    rows = [("LAYER", "TABLE", "ROWS", "RULES", "VERSION", "SECONDS", "")]
    for table in tables:
        state = "failed" if table.error is not None else "nothing new" if table.unchanged else ""
        if table.behind and table.error is None:
            state = f"{state}, depends on failed {', '.join(table.behind)}".removeprefix(", ")
        if table.held_by and table.error is None:
            state = f"{state}, not shown without {', '.join(table.held_by)}".removeprefix(", ")
        version = "-" if table.version is None else str(table.version)
        rejected = f"{sum(table.rejected.values()):,}"
        rows.append(
            (table.layer, table.table, f"{table.rows_written:,}", rejected, version, f"{table.seconds:.1f}", state)
        )
    return columns(rows, right=range(2, 6))
