"""The rows that a Gold table's query gives for Silver as it is at one moment, all of them or those of some keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from batch.errors import BatchError
from batch.gold.plan import Dependency, GoldPlan
from batch.local import brought_if_few
from batch.neighbours import values_without

UNKNOWN = -1
"""The key of the member that stands for no value, in every dimension."""


def affected(plan: GoldPlan, feeds: Mapping[str, DataFrame], table: DataFrame) -> DataFrame | None:
    """The keys (`plan.mapped`) that the change feeds of Silver tables concern; None: all.

    A key that is merely referred to concerns the table (its rows as they are now) only if its member is inferred or is
    not there: a member that the query gives stays as it is, whoever refers to it.
    """
    own = _concerned(plan.depends_on, feeds)
    if own is None and any(each.table in feeds for each in plan.depends_on):
        return None
    referred = _concerned(plan.inferring, feeds)
    if referred is None:
        assert own is not None, "there is a feed of a table that concerns the plan"
        return own
    (key,) = plan.key
    known = referred.where(F.col(key).isNotNull())
    loose = values_without(brought_if_few(known), table.where("NOT is_inferred").select(key))
    return loose if own is None else loose.unionByName(own).distinct()


def _concerned(concerns: Iterable[Dependency], feeds: Mapping[str, DataFrame]) -> DataFrame | None:
    """The keys by which the feeds concern rows; None: all, or none at all."""
    found: DataFrame | None = None
    for concern in concerns:
        if concern.table not in feeds:
            continue
        if not concern.columns:
            return None
        keys = feeds[concern.table].select(*(F.col(own).alias(name) for own, name in concern.columns))
        found = keys if found is None else found.unionByName(keys)
    return None if found is None else found.distinct()


def rows_of(plan: GoldPlan, silver: Mapping[str, DataFrame], spark: SparkSession, keys: DataFrame | None) -> DataFrame:
    """The rows of a Gold table, members that the query does not give included.

    Args:
        silver: the tables as they are at one moment, with their tombstones.
        keys: restrict the rows to these (in the columns `plan.mapped`); the unknown member comes all the same.

    Raises:
        BatchError: the query is wrong, or does not give the columns that the header names.
    """
    live = {name: rows.where("NOT _deleted") for name, rows in silver.items()}
    views = {each.table: _restricted(live, each, keys) for each in plan.depends_on}
    if keys is not None:
        views = {name: brought_if_few(rows) for name, rows in views.items()}
    body = _queried(plan, views, spark)
    if plan.kind == "fact":
        return body
    (key,) = plan.key
    members = [body.where(F.col(key) != F.lit(UNKNOWN)), _only_key(spark.range(1).select(F.lit(UNKNOWN)), body, key)]
    if plan.inferred_from:
        inferred = _only_key(_inferred(plan, live, keys, body), body, key).withColumn("is_inferred", F.lit(True))
        members = [rows.withColumn("is_inferred", F.lit(False)) for rows in members] + [inferred]
    found = members[0]
    for more in members[1:]:
        found = found.unionByName(more)
    return found


def _restricted(live: Mapping[str, DataFrame], concern: Dependency, keys: DataFrame | None) -> DataFrame:
    """The live rows that concern these keys; all, if any row concerns every key."""
    rows = live[concern.table]
    if keys is None or not concern.columns:
        return rows
    return rows.join(keys, [rows[own] == keys[name] for own, name in concern.columns], "left_semi")


def _queried(plan: GoldPlan, views: Mapping[str, DataFrame], spark: SparkSession) -> DataFrame:
    for name, rows in views.items():
        rows.createOrReplaceTempView(name)
    try:
        body = spark.sql(plan.query)
    except AnalysisException as error:
        text = next(iter(str(error).splitlines()), "")
        raise BatchError(f"the query in {plan.name}.sql is wrong: {text}", layer="gold", table=plan.name) from None
    finally:
        for name in views:
            spark.catalog.dropTempView(name)
    wanted = (*plan.key, *((plan.partition,) if plan.partition else ()))
    missing = [name for name in wanted if name not in body.columns]
    if missing:
        text = f"the query in {plan.name}.sql gives no column {', '.join(missing)}, which its header names"
        raise BatchError(text, layer="gold", table=plan.name)
    return body


def _inferred(plan: GoldPlan, live: Mapping[str, DataFrame], keys: DataFrame | None, body: DataFrame) -> DataFrame:
    """The keys that are referred to and that the query gives no row for."""
    (key,) = plan.key
    found: DataFrame | None = None
    for concern in plan.inferring:
        ((own, _),) = concern.columns
        values = _restricted(live, concern, keys).select(F.col(own).cast(body.schema[key].dataType).alias("_value"))
        found = values if found is None else found.unionByName(values)
    assert found is not None
    wanted = found.where(F.col("_value").isNotNull() & (F.col("_value") != F.lit(UNKNOWN))).distinct()
    return values_without(wanted if keys is None else brought_if_few(wanted), body.select(key))


def _only_key(values: DataFrame, body: DataFrame, key: str) -> DataFrame:
    """Rows like those of `body` that have their key (the one column of `values`) and nothing else."""
    (value,) = values.columns
    columns = [F.col(f"`{value}`") if field.name == key else F.lit(None) for field in body.schema.fields]
    types = zip(columns, body.schema.fields, strict=True)
    return values.select(*(column.cast(field.dataType).alias(field.name) for column, field in types))
