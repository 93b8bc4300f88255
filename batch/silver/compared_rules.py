"""Quality rules that compare the values of two rows: `at_most` and `forward`.

Both only count: which of the two rows is wrong cannot be told from them. A row is compared when it arrives. With
`at_most`, that is with the limit that the lake has then; a limit that is lowered later is not compared again. With
`forward`, it is with the version before it in the source's order, among the rows that arrive together and the one in
Silver; a version that arrives late is compared with the versions before it, and not the one after it again.
"""

from __future__ import annotations

from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from batch.context import RunContext
from batch.delta.rows import Rows
from batch.delta.snapshot import Source
from batch.silver.rules import flagged
from config.definition import AtMost, Forward, Table

_VERSION: Final = ("_sequence", "_row_hash")


def beyond_limits(good: DataFrame, rule: AtMost, context: RunContext) -> DataFrame | None:
    """Find the limits that a row exceeds, as rows of the columns `_by` (key of the limiting row) and `_limit`.

    The result is None if no row does. Rows whose limiting row is missing or deleted, or has no limit, hold.

    Args:
        good: the rows that are not quarantined by other rules.
    """
    limiting = context.table("silver", rule.table)
    if not limiting.exists():
        return None
    (key,) = context.definition.table(rule.table).key
    named = good.where(f"NOT _deleted AND `{rule.column}` IS NOT NULL AND `{rule.by}` IS NOT NULL")
    most = Rows.of(named.groupBy(F.col(rule.by).alias("_by")).agg(F.max(rule.column).alias("_most"))).collect_if_small()
    found = limiting.at().with_keys(most, [(key, "_by")], columns=(key, rule.of), where="NOT _deleted").frame
    limits = found.select(F.col(key).alias("_key"), F.col(rule.of).alias("_limit"))
    beyond = most.frame.join(limits, F.col("_by") == F.col("_key")).where("_most > _limit").select("_by", "_limit")
    exceeded = Rows.of(beyond).collect_if_small()
    return None if exceeded.is_empty() else exceeded.frame


def with_at_most(rows: DataFrame, rule: AtMost, limits: DataFrame) -> DataFrame:
    """Add an `at_most` rule to the `_violations` of the rows beyond their limit; see `beyond_limits`."""
    return flagged(rows, limits, [F.col(rule.by) == F.col("_by")], F.col(rule.column) > F.col("_limit"), rule)


def steps_back(good: DataFrame, before: Source | None, table: Table, rule: Forward) -> DataFrame | None:
    """Find the versions whose value stands before that of the version before them, by key, sequence and content hash.

    The result is None if there are none. Values that the rule does not name are not compared, and neither is the first
    version after a delete.

    Args:
        good: the rows that are not quarantined by other rules, including deletes and older versions.
        before: the Silver table before this run; None if it is rebuilt from the rows.
    """
    columns = [*table.key, *_VERSION, "_deleted", rule.column]
    versions = good.select(*columns, F.lit(True).alias("_is_new"))
    if before is not None:
        keys = Rows.of(good.select(*table.key).distinct()).collect_if_small()
        there = before.with_keys(keys, [(name, name) for name in table.key], columns=columns).frame
        versions = versions.unionByName(there.withColumn("_is_new", F.lit(False)))
    order = Window.partitionBy(*table.key).orderBy(*_VERSION)
    placed = versions.withColumn("_place", F.when(~F.col("_deleted"), _place(rule)))
    is_back = (F.col("_place") < F.lag("_place").over(order)) & F.col("_is_new")
    back = placed.withColumn("_is_back", is_back).where("_is_back").select(*table.key, *_VERSION).distinct()
    found = Rows.of(back).collect_if_small()
    return None if found.is_empty() else found.frame


def with_forward(rows: DataFrame, table: Table, rule: Forward, back: DataFrame) -> DataFrame:
    """Add a `forward` rule to the `_violations` of the versions that went back; see `steps_back`."""
    names = [*table.key, *_VERSION]
    others = back.toDF(*(f"_back_{name}" for name in names))
    same = [F.col(name) == F.col(f"_back_{name}") for name in names]
    return flagged(rows, others, same, F.col("_back__sequence").isNotNull(), rule)


def _place(rule: Forward) -> Column:
    """Return the place of a row's value in the rule's list, from 1; NULL if it is not there."""
    return F.nullif(F.array_position(F.array(*map(F.lit, rule.values)), F.col(rule.column)), F.lit(0))
