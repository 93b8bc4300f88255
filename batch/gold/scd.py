"""Slowly changing dimensions (SCD): computes the versions of dimension members, and the version that a fact refers to.

Versions are computed from the history table in Silver, which has all versions of the source rows, ordered by
`_sequence`:

- The query is executed for each version separately. A delete, or a version for which the query returns no row, ends the
  validity of the previous version.
- Consecutive versions with equal values in all columns of the query are merged into one.
- `valid_from` is the time at which the source committed the version, but never earlier than the `valid_from` of the
  previous version. `valid_to` is the `valid_from` of the next version or the time of the delete; it is NULL for the
  current version. If several versions have the same time, all but the last have an empty period.
- `{member}_sk` is a hash of key and sequence, so it does not depend on when or how often a version is delivered.

A fact refers to the last version whose `valid_from` is not after the fact's time, or to the first version if each one
began later. The method is that of SCD types 2 and 4 in Kimball and Ross, The Data Warehouse Toolkit, 3rd edition,
chapter 5.
"""

from __future__ import annotations

from typing import Final

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812

from batch.errors import BatchError
from batch.gold.plan import GoldPlan, Link, surrogate

PERIOD: Final = ("valid_from", "valid_to", "is_current")
_VERSION: Final = ("_sequence", "_row_hash", "_committed_at", "_deleted")


def versions(plan: GoldPlan, history: DataFrame, spark: SparkSession) -> DataFrame:
    """Compute the rows of a table of versions: the columns of the query, the surrogate key and `PERIOD`.

    Args:
        history: versions of source rows; for each key, either all of its versions or none.

    Raises:
        BatchError: the query is invalid, or returns a column whose name is reserved for an added column.
    """
    asked = _asked_of_each(plan, history, spark)
    (key,) = plan.key
    body = [name for name in asked.columns if name not in _VERSION]
    taken = sorted({surrogate(key), *PERIOD} & set(body))
    if taken:
        text = f"the query in {plan.name}.sql uses reserved column names: {', '.join(taken)}; rename them"
        raise BatchError(text, layer="gold", table=plan.name)
    by_key = Window.partitionBy("_key").orderBy("_sequence", "_row_hash")
    is_there = ~F.col("_deleted") & F.col(key).isNotNull()
    state = F.when(is_there, F.struct(*body))
    one_each = asked.withColumn("_next", F.lead("_sequence").over(by_key)).where("NOT _sequence <=> _next")
    states = one_each.select("_key", "_sequence", "_row_hash", "_committed_at", state.alias("_state"))
    changed = states.withColumn("_before", F.lag("_state").over(by_key)).where("NOT _state <=> _before")
    began = F.max("_committed_at").over(by_key.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    begun = changed.withColumn("valid_from", began)
    periods = begun.withColumn("valid_to", F.lead("valid_from").over(by_key)).where("_state IS NOT NULL")
    return periods.select(
        "_state.*",
        surrogate_of(F.col("_key"), F.col("_sequence")).alias(surrogate(key)),
        "valid_from",
        "valid_to",
        F.col("valid_to").isNull().alias("is_current"),
    )


def surrogate_of(key: Column, sequence: Column) -> Column:
    """Return the surrogate key of a version: a hash of key and sequence, from 0 to 2^63 - 1."""
    return F.shiftrightunsigned(F.xxhash64(key, sequence), 1)


def inferred_versions(inferred: DataFrame, known: DataFrame, key: str) -> DataFrame:
    """Turn inferred members into current versions, each valid from the end of the member's last known version.

    If a member has no known version, `valid_from` is NULL.

    Args:
        inferred: rows with the columns of `versions`, all NULL except the key.
        known: the result of `versions`.
    """
    ended = known.groupBy(F.col(key).alias("_known")).agg(F.max("valid_to").alias("_ended"))
    rows = inferred.join(ended, F.col(key) == F.col("_known"), "left")
    return rows.withColumns(
        {
            surrogate(key): surrogate_of(F.col(key), F.lit("")),
            "valid_from": F.col("_ended"),
            "is_current": F.lit(True),
        }
    ).drop("_known", "_ended")


def with_surrogate(facts: DataFrame, link: Link, members: DataFrame, unknown: int) -> DataFrame:
    """Add to each fact the surrogate key of the version that it refers to, or `unknown` if the member is missing.

    Args:
        members: the versions of the dimension's members.
    """
    name = surrogate(link.key)
    in_time = Window.partitionBy(link.key).orderBy(F.asc_nulls_first("valid_from"), F.asc_nulls_last("valid_to"))
    is_first = F.row_number().over(in_time) == 1
    spans = members.select(
        F.col(link.key).alias("_member"),
        F.col(name).alias("_surrogate"),
        F.when(~is_first, F.col("valid_from")).alias("_from"),
        F.lead("valid_from").over(in_time).alias("_to"),
    )
    at = F.coalesce(F.col(link.at).cast("timestamp"), F.lit("9999-12-31").cast("timestamp"))
    is_its = (F.col(link.key) == F.col("_member")) & (F.col("_from").isNull() | (at >= F.col("_from")))
    joined = facts.join(spans, is_its & (F.col("_to").isNull() | (at < F.col("_to"))), "left")
    named = F.coalesce(F.col("_surrogate"), F.lit(unknown).cast("long"))
    return joined.withColumn(name, named).drop("_member", "_surrogate", "_from", "_to")


def _asked_of_each(plan: GoldPlan, history: DataFrame, spark: SparkSession) -> DataFrame:
    """Run the query for each version separately; return its columns (NULL if it has no row), `_key` and `_VERSION`."""
    [concern] = plan.depends_on
    ((own, _),) = concern.columns
    names = [name for name in history.columns if name not in (*_VERSION, "_run_id")]
    relation = f"_versions_of_{plan.versions_of}"
    history.select(*names, *_VERSION).createOrReplaceTempView(relation)
    row = ", ".join(f"v.`{name}` AS `{name}`" for name in names)
    try:
        answers = spark.sql(
            f"SELECT v.`{own}` AS _key, {', '.join(f'v.{name}' for name in _VERSION)}, q.* "  # noqa: S608
            f"FROM {relation} AS v LEFT JOIN LATERAL "
            f"(WITH `{plan.versions_of}` AS (SELECT {row}) SELECT * FROM ({plan.filled_query}\n)) AS q",
        )
        # Without a checkpoint, Spark 4.2 loses the outer columns if a frame with a lateral join is joined with itself.
        return answers.localCheckpoint(eager=False)
    except AnalysisException as error:
        text = next(iter(str(error).splitlines()), "")
        raise BatchError(f"invalid query in {plan.name}.sql: {text}", layer="gold", table=plan.name) from None
    finally:
        spark.catalog.dropTempView(relation)
