"""Quality rules that compare a row with other rows: `reference`, `unique`, `at_most` and `forward`.

Each rule first finds the offending values, which takes one Spark job. Usually there are none, and no row is processed
further. The result is final for the run: a quarantined row does not enter Silver when its missing parent arrives later,
or when another row gives up a shared value. `millrace lake replay` checks quarantined rows again.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.context import RunContext
from batch.delta import sizes
from batch.delta.rows import Rows
from batch.delta.snapshot import Source
from batch.delta.table import LakeTable
from batch.silver.compared_rules import beyond_limits, steps_back, with_at_most, with_forward
from batch.silver.rules import CrossRowRule, flagged, is_quarantined
from batch.silver.versions import newest
from config.definition import AtMost, Forward, Reference, Table, Unique


def cross_row_rules(table: Table) -> list[CrossRowRule]:
    """Return the quality rules of a table that compare a row with other rows."""
    return [rule for rule in table.rules if isinstance(rule, CrossRowRule)]


def with_cross_row_rules(
    checked: DataFrame, table: Table, context: RunContext, silver: LakeTable | None, count: int
) -> DataFrame:
    """Add violations of cross-row rules to the `_violations` of rows; return `checked` itself if there are none.

    Args:
        checked: rows with their violations of the one-row rules.
        silver: the Silver table that the rows are merged into; None if it is rebuilt from the rows.
        count: number of rows in `checked`.
    """
    rows = checked
    good = checked.where(~is_quarantined(table))
    for rule in cross_row_rules(table) if count else []:
        if isinstance(rule, Reference):
            named = good.where(~F.col("_deleted") & F.col(rule.column).isNotNull())
            wanted = Rows.of(named.select(F.col(rule.column).alias("_value")).distinct()).collect_if_small()
            missing = Rows.of(_orphans(wanted, rule, good, table, context)).collect_if_small()
            rows = rows if missing.is_empty() else with_reference(rows, rule, missing.frame)
        elif isinstance(rule, AtMost):
            limits = beyond_limits(good, rule, context)
            rows = rows if limits is None else with_at_most(rows, rule, limits)
        elif isinstance(rule, Forward):
            back = steps_back(good, None if silver is None else silver.at(), table, rule)
            rows = rows if back is None else with_forward(rows, table, rule, back)
        # In a first run, nearly all values differ: proving this takes less time than grouping many rows by their value.
        elif silver is not None or sizes.fits_driver(count) or not has_distinct_values(good, rule):
            shared = shared_values(good, None if silver is None else silver.at(), table, rule)
            rows = rows if shared is None else with_unique(rows, table, rule, shared)
    return rows


def values_not_in(wanted: Rows, source: Source, key: str, *, where: str) -> DataFrame:
    """Return the `wanted` values that are not the `key` of any row in `source` that satisfies `where`.

    Only the wanted values are looked up, because the source may have a million rows.

    Args:
        wanted: the values to look up, as distinct rows of one column.
    """
    (value,) = wanted.schema.names
    found = source.with_keys(wanted, [(key, value)], columns=(key,), where=where)
    return values_without(wanted.frame, found.frame)


def values_without(wanted: DataFrame, others: DataFrame) -> DataFrame:
    """Return the values in `wanted` that are not in `others`; both frames have one column."""
    (value,) = wanted.columns
    return wanted.join(others.toDF("_found"), F.col(value) == F.col("_found"), "left_anti")


def with_reference(rows: DataFrame, rule: Reference, missing: DataFrame) -> DataFrame:
    """Add a `reference` rule to the `_violations` of rows whose value is in `missing`, a frame of one column."""
    others = missing.toDF("_missing")
    is_missing = F.col("_missing").isNotNull()
    return flagged(rows, others, [F.col(rule.column) == F.col("_missing")], is_missing, rule)


def has_distinct_values(good: DataFrame, rule: Unique) -> bool:
    """Whether no two rows, of those that are not deleted, share the values of a `unique` rule; False may mean unknown.

    NULL is not a value.
    """
    own = good.where("NOT _deleted").dropna(subset=list(rule.columns))
    return Rows.of(own).is_proven_distinct_by(rule.columns)


def shared_values(good: DataFrame, before: Source | None, table: Table, rule: Unique) -> DataFrame | None:
    """Find the values that violate a `unique` rule because rows with different keys share them.

    Each value is returned in the columns `_held_{column}`, with the sort key of its owner in `_first`. The owner is the
    row in Silver that already has the value. If there is none, it is the row with the lowest sequence, and of several
    such rows the one with the lowest key. The result is None if no value is shared.

    Args:
        good: the rows that are not quarantined by other rules, including deletes and older versions.
        before: the Silver table before this run, including deleted rows; None if it is rebuilt.
    """
    held = [F.col(name).alias(f"_held_{name}") for name in rule.columns]
    columns = list(dict.fromkeys([*table.key, *rule.columns, "_sequence", "_row_hash"]))
    versions = good.select(*columns, "_deleted")
    own = versions.where("NOT _deleted").select(*columns).dropna(subset=list(rule.columns))
    everyone, silver = own, None
    if before is not None:
        values = Rows.of(own.select(*held).distinct()).collect_if_small()
        same = [(name, f"_held_{name}") for name in rule.columns]
        silver = before.with_keys(values, same, columns=columns, where="NOT _deleted").frame
        everyone = own.unionByName(silver)
    # A cheap query first, because usually no value is shared.
    owner = F.struct(*table.key)
    owners = everyone.groupBy(*held).agg(F.min(owner).alias("_low"), F.max(owner).alias("_high"))
    several = Rows.of(owners.where("_low != _high").drop("_low", "_high")).collect_if_small()
    if several.is_empty():
        return None
    keys = everyone.join(several.frame, _same(rule), "left_semi").select(*table.key).distinct()
    candidates = newest(versions.join(keys, list(table.key), "left_semi"), table.key)
    holders = candidates.where("NOT _deleted").select(*held, _place(table, is_old=False))
    if silver is not None:
        replaced = [silver[name] == candidates[name] for name in table.key]
        replaced.append(candidates["_sequence"] > silver["_sequence"])
        still = silver.join(candidates, replaced, "left_anti")
        holders = holders.unionByName(still.select(*held, _place(table, is_old=True)))
    first, low, high = F.min("_place"), F.min("_place.key"), F.max("_place.key")
    groups = holders.groupBy(*(f"_held_{name}" for name in rule.columns))
    found = groups.agg(first.alias("_first"), low.alias("_low"), high.alias("_high"))
    return Rows.of(found.where("_low != _high").drop("_low", "_high")).collect_if_small().frame


def with_unique(rows: DataFrame, table: Table, rule: Unique, shared: DataFrame) -> DataFrame:
    """Add a `unique` rule to the `_violations` of rows whose value belongs to another key; see `shared_values`."""
    own = F.struct(*table.key)
    is_later = F.col("_first") < _place(table, is_old=False)
    return flagged(rows, shared, _same(rule), (F.col("_first.key") != own) & is_later, rule)


def _place(table: Table, *, is_old: bool) -> Column:
    """Return a sort key for rows that share a value; the row with the lowest sort key owns the value."""
    parts = (F.lit(not is_old).alias("new"), F.col("_sequence").alias("sequence"), F.struct(*table.key).alias("key"))
    return F.struct(*parts).alias("_place")


def _same(rule: Unique) -> list[Column]:
    return [F.col(name) == F.col(f"_held_{name}") for name in rule.columns]


def _orphans(wanted: Rows, rule: Reference, good: DataFrame, table: Table, context: RunContext) -> DataFrame:
    """Return the values that are not the key of a parent row; new rows of a self-referencing table are parents too."""
    (key,) = context.definition.table(rule.table).key
    parent = context.table("silver", rule.table)
    missing = values_not_in(wanted, parent.at(), key, where="NOT _deleted") if parent.exists() else wanted.frame
    return values_without(missing, good.select(key)) if rule.table == table.name else missing
