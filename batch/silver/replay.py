"""Replays the quarantine of a table: rows that now pass are merged into Silver and removed from the quarantine."""

from __future__ import annotations

from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.envelope import UNREADABLE
from batch.context import LayerResult, RunContext
from batch.delta.delta_rs import NEVER
from batch.delta.rows import Rows
from batch.errors import BatchError
from batch.quarantine import quarantine_table
from batch.silver import refine, rules
from batch.silver.cross_row_rules import with_cross_row_rules
from batch.silver.history import keep_versions
from batch.silver.versions import NEWER, newest
from config.definition import Table

_META: Final = "_op STRING, _sequence STRING, _committed_at TIMESTAMP, _landed_at TIMESTAMP, _run_id STRING"
_SAME: Final = "t.table = s.table AND t._sequence <=> s._sequence AND t._origin <=> s._origin"
_HASHES: Final = "_row_hash STRING, _origin STRING"


def replayed(table: Table, context: RunContext) -> LayerResult:
    """Check the quarantined rows of a table again, and move the rows that now pass to Silver.

    Raises:
        BatchError: key, columns or history in the definition have changed since Silver was written, or rows break a
            rule whose action is `fail`; nothing is written.
    """
    target, aside = context.table("silver", table.name), quarantine_table(context)
    if not aside.exists() or not target.exists():
        return _nothing(table, target.version() if target.exists() else None)
    if target.progress().get("definition") != refine.fingerprint(table):
        text = "its definition has changed since Silver was written: run `millrace lake run`, then replay again"
        raise BatchError(text, layer="silver", table=table.name)
    kept = aside.read().where((F.col("table") == table.name) & (F.col("rule") != UNREADABLE))
    checked = refine.prepared(as_landed(kept, table), table, context.run_id).persist()
    try:
        count = checked.count()
        return _tried(checked, count, table, context) if count else _nothing(table, target.version())
    finally:
        checked.unpersist()


def _tried(checked: DataFrame, count: int, table: Table, context: RunContext) -> LayerResult:
    """Check the cross-row rules, merge the rows that pass into Silver, then remove them from the quarantine."""
    target = context.table("silver", table.name)
    progress = target.progress()
    flagged = with_cross_row_rules(checked, table, context, target, count)
    found = rules.tally(Rows.of(flagged), table)
    rules.stop_if_failed(found, table)
    passed = flagged.where(~rules.is_quarantined(table))
    named = passed.select(F.lit(table.name).alias("table"), "_sequence", "_origin").distinct()
    leaving = Rows.of(named).collect_if_small()
    versions = passed.select(*table.column_names, *refine.META)
    also_written = keep_versions(versions, table, context, progress, from_scratch=False)
    good = newest(versions, table.key)
    on = " AND ".join(f"t.`{name}` = s.`{name}`" for name in table.key)
    written = target.merge(good, on=on, set_when=NEWER, run_id=context.run_id, progress=progress)
    left = quarantine_table(context).merge(
        leaving,
        on=f"{_SAME} AND t.rule != '{UNREADABLE}'",
        set_when=None,
        insert_when=NEVER,
        delete_when="true",
        evolve=False,
        run_id=context.run_id,
        progress={},
    )
    return LayerResult.of(
        written,
        layer="silver",
        table=table.name,
        progress=progress,
        rows_in=count,
        rejected=found.broken,
        note=f"{left.rows_deleted:,} entries removed from the quarantine",
        also_written=also_written,
    )


def as_landed(kept: DataFrame, table: Table) -> DataFrame:
    """Convert quarantine entries back to Bronze rows; a row that broke several rules is returned only once."""
    columns = ", ".join(f"`{name}` STRING" for name in table.column_names)
    rows = kept.select(F.from_json("row", f"{columns}, {_META}, {_HASHES}").alias("_landed")).select("_landed.*")
    return rows.dropDuplicates(["_sequence", "_origin"])


def _nothing(table: Table, version: int | None) -> LayerResult:
    return LayerResult(layer="silver", table=table.name, version=version, is_unchanged=True)
