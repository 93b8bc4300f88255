"""Finds the rows of a Gold table that differ from its query's present result, and checks that no key is there twice.

A fact may have NULL in its key or its partition, such as the orders of customers without a country. NULL is then a
value like any other: it equals NULL.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import DataType, NumericType, StringType

from batch.delta.rows import Rows
from batch.errors import BatchError
from batch.gold.plan import GoldPlan

UNKNOWN = -1
"""Key of the unknown member of every dimension; facts refer to it if their source has no value."""


def unknown_key(kind: DataType, plan: GoldPlan) -> Column:
    """Return the key of the unknown member as a value of a dimension's key, which has the type `kind`.

    Raises:
        BatchError: the type has no such value.
    """
    if not isinstance(kind, NumericType | StringType):
        text = (
            f"the key {plan.key[0]} is a {kind.simpleString()}, but the key of a dimension must be a number or a text"
        )
        raise BatchError(text, layer="gold", table=plan.name)
    return F.lit(UNKNOWN).cast(kind)


def difference(before: DataFrame, now: DataFrame, plan: GoldPlan) -> DataFrame:
    """Return the rows to insert, update or delete in order to turn `before` into `now`.

    Three columns are added: `_gone`, whether the row must be deleted; `_was`, the row's partition in `before`, or the
    new one if the row must be inserted; and `_times`, how often `now` has the row's key, which must not exceed 1.
    """
    key = plan.row_key
    was = before.select(*(F.col(name).alias(f"_was_{name}") for name in key), F.struct(*now.columns).alias("_old"))
    grouped = now.groupBy(*key).agg(
        F.any_value(F.struct(*now.columns)).alias("_new"), F.count(F.lit(1)).alias("_times")
    )
    same = [F.col(f"_was_{name}").eqNullSafe(F.col(name)) for name in key]
    differs = ~F.col("_old").eqNullSafe(F.col("_new")) | (F.col("_times") > 1)
    both = was.join(grouped, same, "full_outer").where(differs)
    is_gone = F.col("_new").isNull()
    row = F.when(is_gone, F.col("_old")).otherwise(F.col("_new"))
    is_new = F.col("_old").isNull()
    partition = F.lit(None)
    if plan.partition:
        partition = F.when(is_new, F.col(f"_new.{plan.partition}")).otherwise(F.col(f"_old.{plan.partition}"))
    added = is_gone.alias("_gone"), partition.alias("_was"), F.coalesce("_times", F.lit(0)).alias("_times")
    return both.select(row.alias("_row"), *added).select("_row.*", "_gone", "_was", "_times")


def check_keys(rows: Rows, plan: GoldPlan) -> None:
    """Check that no two rows of a Gold table have the same key.

    Raises:
        BatchError: the query returns several rows with one key; the message has the key.
    """
    if not rows.is_proven_distinct_by(plan.row_key):
        stop_if_repeated(rows.frame.groupBy(*plan.row_key).count(), "count", plan)


def stop_if_repeated(rows: DataFrame, times: str, plan: GoldPlan) -> None:
    """Raise an error if the column `times` is above 1 in any row.

    Raises:
        BatchError: the query returns several rows with one key; the message has the key.
    """
    found = rows.where(F.col(times) > 1).select(*plan.row_key, times).first()
    if found is not None:
        # A text may be personal data, which errors must not quote.
        named = ", ".join(f"{n}={'…' if isinstance(found[n], str) else found[n]}" for n in plan.row_key)
        text = f"the query returns {found[times]} rows with the key {named}: nothing was written; group by the key"
        raise BatchError(text, layer="gold", table=plan.name)


def is_equal(name: str, *, is_nullable: bool) -> str:
    """Return an SQL condition that `s` and `t` have the same value in a column; the plain `=` is faster."""
    return f"(t.`{name}` IS NOT DISTINCT FROM s.`{name}`)" if is_nullable else f"t.`{name}` = s.`{name}`"


def is_in(name: str, values: Sequence[str], *, has_null: bool) -> str:
    """Return an SQL condition that a column of `t` has one of the values, given as SQL literals."""
    listed = [f"t.`{name}` IN ({', '.join(values)})"] if values else []
    return f"({' OR '.join([*listed, *([f't.`{name}` IS NULL'] if has_null else [])])})"
