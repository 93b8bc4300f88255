"""Updates Silver tables from Bronze: one typed row per key, with its newest valid version; deletes become tombstones.

Bronze rows are converted to the types of their columns and checked by the quality rules. The newest version of each key
is merged into Silver; all valid versions are added to the history, if the table has one.

Versions of a key are ordered by `_sequence`, also across runs: an older version never replaces a newer one in Silver,
and an old change that arrives after the delete of a row does not restore the row. Rules are checked before the newest
version is chosen, so if the newest version is quarantined, Silver keeps the last valid one. A newer version replaces
the version in Silver even if their content is equal; otherwise a late version with a sequence between the two would
win.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.rest import filled
from batch.context import LayerResult, RunContext
from batch.delta import sizes
from batch.delta.rows import Rows
from batch.delta.table import DELETION_VECTORS, LakeTable
from batch.delta.widening import types_text
from batch.delta.writer import SPARK
from batch.errors import BatchError
from batch.quarantine import quarantine
from batch.silver import rules
from batch.silver.cross_row_rules import cross_row_rules, with_cross_row_rules
from batch.silver.history import keep_versions, unchanged_history
from batch.silver.rules import VIOLATIONS
from batch.silver.shape import ShapeChange, fingerprint, shape_change, with_wider_types
from batch.silver.versions import META, NEWER, PROPERTIES, newest
from config.definition import AtMost, Reference, Table

AGAIN: Final = "again"
"""The entry of the progress with the rules whose quarantined rows are to be checked again, because types are wider."""

_PARTITIONS: Final = ("year", "month", "day")


@dataclass(frozen=True, kw_only=True)
class _SilverRefresh:
    """One update of a Silver table.

    Attributes:
        silver: the table.
        is_continued: whether new rows are merged into the table; otherwise the whole table is rebuilt.
        progress: the progress to commit with the rows.
        note: a remark on a changed definition.
    """

    silver: LakeTable
    is_continued: bool
    progress: dict[str, Any]
    note: str


def refine(table: Table, context: RunContext) -> LayerResult:
    """Update a Silver table by merging the new rows of its Bronze table.

    The table is rebuilt instead in a full run, if the change feed is incomplete, or if its definition has changed; for
    wider types, only its metadata is changed.

    Raises:
        BatchError: the Bronze table does not exist, or rows break a rule whose action is `fail`; nothing is written.
    """
    bronze = context.table("bronze", table.name)
    silver = context.table("silver", table.name)
    newest = bronze.version()
    if newest < 0:
        raise BatchError("the Bronze table is missing: run the Bronze layer first", layer="silver", table=table.name)
    done = silver.progress()
    change = shape_change(table, silver, done)
    again = [*done.get(AGAIN, ()), *(f"type({name})" for name in change.wider)]
    progress = {"bronze": newest, "definition": fingerprint(table)} | ({AGAIN: again} if again else {})
    if done == progress and not context.full:
        return LayerResult(
            layer="silver",
            table=table.name,
            version=silver.version(),
            progress=progress,
            is_unchanged=True,
            also_written=unchanged_history(table, context),
        )
    is_same_table = "definition" in done and not change.reason and not context.full
    if is_same_table and change.wider:
        with_wider_types(table, silver, change.wider, context)
    changes = bronze.changed_since(done["bronze"]) if is_same_table else None
    # The change feed also has rows that an erasure deleted from Bronze; those are not new versions.
    feed = None if changes is None else changes.frame.where("_change_type = 'insert'")
    refresh = _SilverRefresh(silver=silver, is_continued=feed is not None, progress=progress, note=_note(change))
    is_small = sizes.are_small_tables(_read_by(table, context, bronze if feed is None else None))
    with sizes.set_for_small_query(context.spark, when=is_small):
        landed = filled(bronze.read(newest) if feed is None else feed, table, bronze.progress())
        rows = Rows.of(prepared(landed, table, context.run_id))
        with rows.persisted() if feed is None else rows.collected_or_persisted() as checked:
            return _refine(checked, table, context, refresh)


def _note(change: ShapeChange) -> str:
    if change.reason:
        return f"rebuilt, because {change.reason}"
    return f"wider types, in the metadata alone: {types_text(change.wider)}" if change.wider else ""


def _read_by(table: Table, context: RunContext, bronze: LakeTable | None) -> list[LakeTable]:
    """Return the tables that an update reads: the Silver table, its parent tables, and `bronze` unless it is None."""
    silver = [context.table("silver", name) for name in (table.name, *parents(table))]
    return silver if bronze is None else [bronze, *silver]


def in_order(tables: Iterable[Table]) -> list[Table]:
    """Sort tables so that each table comes after the tables that it refers to.

    If the references form a cycle, all tables keep their order.
    """
    by_name = {table.name: table for table in tables}
    try:
        sorter = TopologicalSorter({table.name: parents(table) for table in by_name.values()})
        return [by_name[name] for name in sorter.static_order() if name in by_name]
    except CycleError:
        return list(by_name.values())


def parents(table: Table) -> set[str]:
    """Return the names of the other tables that a table refers to by `reference` and `at_most` rules."""
    return {rule.table for rule in table.rules if isinstance(rule, Reference | AtMost)} - {table.name}


def prepared(rows: DataFrame, table: Table, run_id: str, *, is_kept: bool = False) -> DataFrame:
    """Convert Bronze rows to typed rows; `_violations` has the names of the one-row rules that each row breaks.

    For rows that may have to be quarantined, `_key` and `_row` have the key and the Bronze row as JSON.

    Args:
        is_kept: whether the rows are in the quarantine already, so that all of them have `_key` and `_row`.
    """
    raw = [name for name in rows.columns if name not in _PARTITIONS and not name.startswith(("_commit_", "_change_"))]
    violations = rules.row_violations(rows, table)
    may_be_quarantined = F.size(violations) > 0
    if is_kept or any(rule.action != "warn" for rule in cross_row_rules(table)):
        may_be_quarantined = F.lit(True)
    key = F.struct(*(rules.bronze_text(rows, name).alias(name) for name in table.key))
    options = {"ignoreNullFields": "false"}
    return rows.select(
        *(rules.typed(rows, column).alias(column.name) for column in table.columns),
        "_sequence",
        "_committed_at",
        "_row_hash",
        (F.col("_op") == "d").alias("_deleted"),
        F.lit(run_id).alias("_run_id"),
        "_origin",
        violations.alias(VIOLATIONS),
        F.when(may_be_quarantined, F.to_json(key, options)).alias("_key"),
        F.when(may_be_quarantined, F.to_json(F.struct(*raw), options)).alias("_row"),
    )


def quarantine_rows(rows: DataFrame, table: Table) -> DataFrame:
    """Return the entries for the quarantine: one for each row and each quarantining rule that the row breaks."""
    failing = rules.rules_with(table, "fail")
    names = F.array(*(F.lit(name) for name in rules.rules_with(table, "quarantine", "fail")))
    return (
        rows.where(rules.is_quarantined(table))
        .select(
            F.lit(table.name).alias("table"),
            F.col("_key").alias("key"),
            F.explode(F.array_intersect(VIOLATIONS, names)).alias("rule"),
            F.col("_row").alias("row"),
            "_sequence",
            "_origin",
        )
        .withColumn("action", F.when(F.col("rule").isin(failing), "fail").otherwise("quarantine"))
    )


def _refine(checked: Rows, table: Table, context: RunContext, refresh: _SilverRefresh) -> LayerResult:
    """Check the cross-row rules, then write the rows to the quarantine, the history and Silver."""
    found = rules.tally(checked, table)
    rows = checked.frame
    silver = refresh.silver if refresh.is_continued else None
    judged = with_cross_row_rules(rows, table, context, silver, found.rows)
    if judged is not rows:
        found = rules.tally(Rows.of(judged), table)
    rules.stop_if_failed(found, judged, table, None if silver is None else silver.at())
    good = checked  # unless rows are quarantined; columns added by the rules are dropped below
    if any(name in found.broken for name in rules.rules_with(table, "quarantine", "fail")):
        quarantine(quarantine_rows(judged, table), context)
        good = Rows.of(judged.where(~rules.is_quarantined(table)))
    versions = good.select(*table.column_names, *META)
    also_written = keep_versions(
        versions.frame, table, context, refresh.progress, from_scratch=not refresh.is_continued
    )
    new = _newest(versions, table, found.rows)
    if refresh.is_continued:
        if refresh.silver.writer() == SPARK and sizes.wants_deletion_vectors(refresh.silver.size()):
            refresh.silver.have(DELETION_VECTORS)
        on = " AND ".join(f"t.`{name}` = s.`{name}`" for name in table.key)
        written = refresh.silver.merge(new, on=on, set_when=NEWER, run_id=context.run_id, progress=refresh.progress)
    else:
        written = refresh.silver.replace(new, run_id=context.run_id, progress=refresh.progress, properties=PROPERTIES)
    return LayerResult.of(
        written,
        layer="silver",
        table=table.name,
        progress=refresh.progress,
        rows_in=found.rows,
        rejected=found.broken,
        also_written=also_written,
        note=refresh.note,
    )


def _newest(versions: Rows, table: Table, count: int) -> Rows:
    """Return the newest version of each key; `count` is an upper bound for the number of versions."""
    # In a first run, nearly all keys have a single version: proving this takes less time than sorting many rows.
    is_worth_a_job = versions.count_if_known is not None or not sizes.fits_driver(count)
    if is_worth_a_job and versions.is_proven_distinct_by(table.key):
        return versions
    found = Rows.of(newest(versions.frame, table.key))
    return found.collect_if_small() if sizes.fits_driver(count) else found
