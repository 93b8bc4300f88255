"""Replays the quarantine of a table: rows that now pass are merged into Silver and removed from the quarantine.

Of the rows that pass, those that the source has deleted since only enter the history. Bronze shows these deletes, as
`maintain` removes old tombstones from Silver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.envelope import UNREADABLE
from batch.bronze.rest import REST, filled
from batch.context import LayerResult, RunContext
from batch.delta.rows import Rows
from batch.errors import BatchError
from batch.quarantine import quarantine_table, release
from batch.silver import refine, rules
from batch.silver.cross_row_rules import with_cross_row_rules
from batch.silver.history import keep_versions
from batch.silver.shape import fingerprint
from batch.silver.versions import META, NEWER, newest
from config.definition import Reference, Table

_META: Final = "_op STRING, _sequence STRING, _committed_at TIMESTAMP, _landed_at TIMESTAMP, _run_id STRING"
_IDENTITY: Final = ("key", "_sequence", "_origin")
"""Columns that identify a quarantined row; rows that were read over JDBC in one run only differ in their keys."""

_SAME: Final = "t.table = s.table AND " + " AND ".join(f"t.{name} <=> s.{name}" for name in _IDENTITY)
_DELETED_AT: Final = "_asked_deleted_at"
"""Name of a temporary column; no column of a table may begin like this."""

_HASHES: Final = f"_row_hash STRING, _origin STRING, {REST} STRING"


def replayed(table: Table, context: RunContext) -> LayerResult:
    """Check the quarantined rows of a table again, and move the rows that now pass to Silver.

    Raises:
        BatchError: key, columns or history in the definition have changed since Silver was written, or rows break a
            rule whose action is `fail`; nothing is written.
    """
    target, aside = context.table("silver", table.name), quarantine_table(context)
    if not aside.exists() or not target.exists():
        return _nothing(table, target.version() if target.exists() else None)
    if target.progress().get("definition") != fingerprint(table):
        text = "its definition has changed since Silver was written: run `millrace lake run`, then replay again"
        raise BatchError(text, layer="silver", table=table.name)
    kept = aside.read().where((F.col("table") == table.name) & (F.col("rule") != UNREADABLE))
    return _checked_again(kept, table, context)


def refined(table: Table, context: RunContext) -> LayerResult:
    """Update a Silver table from Bronze, then check quarantined rows again that lacked a parent row or a wider type.

    The tables of a run are read one after the other, so a row may arrive in an earlier run than its parent.
    """
    result = refine.refine(table, context)
    names = [rules.rule_name(rule) for rule in table.rules if isinstance(rule, Reference)]
    waited_for = [name for name in names if name in rules.rules_with(table, "quarantine")]
    wider: Sequence[str] = result.progress.get(refine.AGAIN, ())
    again = _again([*waited_for, *wider], table, context)
    if again is not None and again.rows_written:
        note = f"quarantined rows that are right now: {again.rows_written:,}"
        result = replace(
            result,
            version=again.version,
            rows_written=result.rows_written + again.rows_written,
            is_unchanged=False,
            note="; ".join(filter(None, (result.note, note))),
            also_written=_later(result.also_written, again.also_written),
        )
    return _without_again(result, table, context) if wider else result


def _later(first: Sequence[LayerResult], second: Sequence[LayerResult]) -> Sequence[LayerResult]:
    """Return the second results of the same tables, unless nothing was written again."""
    return first if first and all(each.is_unchanged for each in second) else second


def _again(names: Sequence[str], table: Table, context: RunContext) -> LayerResult | None:
    """Check the quarantined rows again that break any of these rules; return None if there are none."""
    aside = quarantine_table(context)
    if not names or not aside.exists():
        return None
    listed = ", ".join(f"'{name}'" for name in names)
    kept = aside.at().read(where=f"`table` = '{table.name}' AND rule IN ({listed})")
    return None if kept.is_empty() else _checked_again(kept.frame, table, context)


def _without_again(result: LayerResult, table: Table, context: RunContext) -> LayerResult:
    """Commit that the rows have been checked again, so that no later run repeats it."""
    silver = context.table("silver", table.name)
    progress = {name: value for name, value in silver.progress().items() if name != refine.AGAIN}
    written = silver.note(run_id=context.run_id, progress=progress)
    return replace(result, version=written.version, progress=progress, is_unchanged=False)


def _checked_again(kept: DataFrame, table: Table, context: RunContext) -> LayerResult:
    landed = filled(as_landed(kept, table), table, context.table("bronze", table.name).progress())
    checked = refine.prepared(landed, table, context.run_id, is_kept=True).persist()
    try:
        count = checked.count()
        version = context.table("silver", table.name).version()
        return _tried(checked, count, table, context) if count else _nothing(table, version)
    finally:
        checked.unpersist()


def _tried(checked: DataFrame, count: int, table: Table, context: RunContext) -> LayerResult:
    """Check the cross-row rules, merge the rows that pass into Silver, then remove them from the quarantine."""
    target = context.table("silver", table.name)
    progress = target.progress()
    flagged = with_cross_row_rules(checked, table, context, target, count)
    found = rules.tally(Rows.of(flagged), table)
    if any(name in found.broken for name in rules.rules_with(table, "fail")):
        rules.stop_if_failed(found, _not_deleted_since(flagged, table, context), table, target.at())
    passed = flagged.where(~rules.is_quarantined(table))
    named = passed.select(F.lit(table.name).alias("table"), F.col("_key").alias("key"), "_sequence", "_origin")
    leaving = Rows.of(named.distinct()).collect_if_small()
    if leaving.is_empty():
        return replace(_nothing(table, target.version()), rows_in=count, rejected=found.broken)
    versions = passed.select(*table.column_names, *META)
    also_written = keep_versions(versions, table, context, progress, from_scratch=False)
    good = newest(_not_deleted_since(versions, table, context), table.key)
    on = " AND ".join(f"t.`{name}` = s.`{name}`" for name in table.key)
    written = target.merge(good, on=on, set_when=NEWER, run_id=context.run_id, progress=progress)
    removed = release(leaving, context, on=f"{_SAME} AND t.rule != '{UNREADABLE}'")
    return LayerResult.of(
        written,
        layer="silver",
        table=table.name,
        progress=progress,
        rows_in=count,
        rejected=found.broken,
        note=f"{removed:,} entries removed from the quarantine",
        also_written=also_written,
    )


def as_landed(kept: DataFrame, table: Table) -> DataFrame:
    """Convert quarantine entries back to Bronze rows; a row that broke several rules is returned only once."""
    columns = ", ".join(f"`{name}` STRING" for name in table.column_names)
    landed = F.from_json("row", f"{columns}, {_META}, {_HASHES}").alias("_landed")
    return kept.dropDuplicates(list(_IDENTITY)).select(landed).select("_landed.*")


def _not_deleted_since(versions: DataFrame, table: Table, context: RunContext) -> DataFrame:
    """Return the versions whose key has no later delete in Bronze."""
    bronze = context.table("bronze", table.name)
    found = bronze.at().read(columns=(*table.key, "_sequence"), where="_op = 'd'").frame
    own = [column for column in table.columns if column.name in table.key]
    keys = [rules.typed(found, column).alias(f"_there_{column.name}") for column in own]
    deletes = found.select(*keys, F.col("_sequence").alias(_DELETED_AT))
    is_same = [F.col(name) == F.col(f"_there_{name}") for name in table.key]
    return versions.join(deletes, [*is_same, F.col(_DELETED_AT) > F.col("_sequence")], "left_anti")


def _nothing(table: Table, version: int | None) -> LayerResult:
    return LayerResult(layer="silver", table=table.name, version=version, is_unchanged=True)
