"""Computes the rows of a Gold table from fixed versions of its sources: all rows, or only those with given keys.

See `batch.gold.plan` for the terms member, version and link.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from batch.delta.rows import Rows
from batch.delta.snapshot import Source
from batch.errors import BatchError
from batch.gold.difference import UNKNOWN, unknown_key
from batch.gold.plan import Dependency, GoldPlan, surrogate
from batch.gold.scd import inferred_versions, versions, with_surrogate
from batch.silver.cross_row_rules import values_not_in, values_without

RESERVED_KEY: Final = (
    f"a row of the source has the key {UNKNOWN}, which stands for the unknown member: give it another key there"
)


def affected(plan: GoldPlan, feeds: Mapping[str, Rows], table: Source) -> DataFrame | None:
    """Return the keys (`plan.mapped`) of the Gold rows that changes in the sources affect; None if all are affected.

    A changed reference affects a dimension member only if the member is inferred, or missing in `table`: a member that
    the query returns does not depend on references to it.

    Args:
        feeds: for each changed source, by name, its changes since the last build.
        table: the Gold table in its current state.
    """
    own = _concerned(plan.depends_on, feeds)
    if own is None and any(each.table in feeds for each in plan.depends_on):
        return None
    for link in plan.links:
        if (feed := feeds.get(gold_source(link.dimension))) is not None:
            if not plan.mapped:
                return None
            members = Rows.of(feed.frame.select(link.key).distinct()).collect_if_small()
            naming = table.with_keys(members, [(link.key, link.key)], columns=plan.mapped).frame
            own = naming.distinct() if own is None else own.unionByName(naming).distinct()
    referred = _concerned(plan.inferring, feeds)
    if referred is None:
        assert own is not None, "at least one table that the plan reads has a change feed"
        return own
    (key,) = plan.key
    known = Rows.of(referred.where(F.col(key).isNotNull())).collect_if_small()
    given = "NOT is_inferred" if plan.versions_of is None else "NOT is_inferred AND is_current"
    loose = values_not_in(known, table, key, where=given)
    return loose if own is None else loose.unionByName(own).distinct()


def _concerned(concerns: Iterable[Dependency], feeds: Mapping[str, Rows]) -> DataFrame | None:
    """Return the keys that changes affect through the dependencies; None means all keys, or that nothing changed."""
    found: DataFrame | None = None
    for concern in concerns:
        if concern.table not in feeds:
            continue
        if not concern.columns:
            return None
        keys = feeds[concern.table].frame.select(*(F.col(own).alias(name) for own, name in concern.columns))
        found = keys if found is None else found.unionByName(keys)
    return None if found is None else found.distinct()


def rows_of(plan: GoldPlan, sources: Mapping[str, Source], spark: SparkSession, keys: Rows | None) -> DataFrame:
    """Compute the rows of a Gold table, including the unknown member and inferred members.

    Args:
        sources: the tables to build from, each at one version: Silver tables (with tombstones) by name, and linked
            dimensions by `gold_source`.
        keys: compute only the rows with these keys (columns `plan.mapped`) and the unknown member; None: all rows.

    Raises:
        BatchError: the query is invalid, or does not return a column that the header names.
    """
    body = _body(plan, sources, spark, keys)
    for link in plan.links:
        dimension = sources[gold_source(link.dimension)]
        if keys is None:
            members = dimension.frame
        else:
            named = Rows.of(body.select(link.key).distinct()).collect_if_small()
            members = dimension.with_keys(named, [(link.key, link.key)]).frame
        members = members.where(F.col(link.key) != unknown_key(members.schema[link.key].dataType, plan))
        body = with_surrogate(body, link, members, UNKNOWN)
    body = body.drop(*(name for name in body.columns if name.startswith("_")))
    return _with_members(plan, sources, spark, keys, body) if plan.has_members else body


def gold_source(dimension: str) -> str:
    """Return the key of a dimension in a mapping of sources; its prefix rules out a clash with a Silver table."""
    return f"gold/{dimension}"


def _body(plan: GoldPlan, sources: Mapping[str, Source], spark: SparkSession, keys: Rows | None) -> DataFrame:
    """Run the query, check that it returns the columns named in the header, and return its rows."""
    views = {each.table: _restricted(sources, each, keys) for each in plan.depends_on}
    if plan.versions_of is None:
        body = _queried(plan, {name: rows.where("NOT _deleted") for name, rows in views.items()}, spark)
    else:
        [history] = views.values()
        body = versions(plan, history, spark)
    named = [name for link in plan.links for name in (link.key, link.at)]
    wanted = (*plan.key, *((plan.partition,) if plan.partition else ()), *named)
    missing = [name for name in dict.fromkeys(wanted) if name not in body.columns]
    if missing:
        text = f"the query in {plan.name}.sql does not return columns that its header names: {', '.join(missing)}"
        raise BatchError(text, layer="gold", table=plan.name)
    return body


def _with_members(
    plan: GoldPlan, sources: Mapping[str, Source], spark: SparkSession, keys: Rows | None, body: DataFrame
) -> DataFrame:
    """Add the members that a dimension's query does not return: the unknown member and inferred members."""
    (key,) = plan.key
    body = body.where(F.col(key).isNotNull())
    unknown = _only_key(spark.range(1).select(F.lit(UNKNOWN)), body, key)
    if plan.versions_of is not None:
        unknown = unknown.withColumns({surrogate(key): F.lit(UNKNOWN).cast("long"), "is_current": F.lit(True)})
    members = [_without_reserved(body, plan), unknown]
    if plan.inferred_from:
        given = body.where("is_current") if plan.versions_of is not None else body
        inferred = _only_key(_inferred(plan, sources, keys, given), body, key)
        if plan.versions_of is not None:
            inferred = inferred_versions(inferred, body, key)
        members = [rows.withColumn("is_inferred", F.lit(False)) for rows in members]
        members.append(inferred.withColumn("is_inferred", F.lit(True)))
    found = members[0]
    for more in members[1:]:
        found = found.unionByName(more)
    return found


def _without_reserved(body: DataFrame, plan: GoldPlan) -> DataFrame:
    """Return the members with a check: a member with the key of the unknown member raises an error when it is read."""
    (key,) = plan.key
    is_reserved = F.col(key) == unknown_key(body.schema[key].dataType, plan)
    return body.withColumn(key, F.when(is_reserved, F.raise_error(F.lit(RESERVED_KEY))).otherwise(F.col(key)))


def _restricted(
    sources: Mapping[str, Source], concern: Dependency, keys: Rows | None, *, columns: Sequence[str] = ()
) -> DataFrame:
    """Return the source rows that affect the given keys.

    All rows are returned if `keys` is None, or if the dependency maps no columns of the source to the key.
    """
    source = sources[concern.table]
    if keys is None:
        return source.frame.select(*columns) if columns else source.frame
    found = (
        source.with_keys(keys, concern.columns, columns=columns) if concern.columns else source.read(columns=columns)
    )
    return found.frame


def _queried(plan: GoldPlan, views: Mapping[str, DataFrame], spark: SparkSession) -> DataFrame:
    for name, rows in views.items():
        rows.createOrReplaceTempView(name)
    try:
        body = spark.sql(plan.filled_query)
    except AnalysisException as error:
        text = next(iter(str(error).splitlines()), "")
        raise BatchError(f"invalid query in {plan.name}.sql: {text}", layer="gold", table=plan.name) from None
    finally:
        for name in views:
            spark.catalog.dropTempView(name)
    return body


def _inferred(plan: GoldPlan, sources: Mapping[str, Source], keys: Rows | None, body: DataFrame) -> DataFrame:
    """Return the keys that other tables refer to, but for which the query returns no row."""
    (key,) = plan.key
    found: DataFrame | None = None
    for concern in plan.inferring:
        ((own, _),) = concern.columns
        rows = _restricted(sources, concern, keys, columns=(own, "_deleted")).where("NOT _deleted")
        values = rows.select(F.col(own).cast(body.schema[key].dataType).alias("_value"))
        found = values if found is None else found.unionByName(values)
    assert found is not None
    unknown = unknown_key(body.schema[key].dataType, plan)
    wanted = found.where(F.col("_value").isNotNull() & (F.col("_value") != unknown)).distinct()
    few = wanted if keys is None else Rows.of(wanted).collect_if_small().frame
    return values_without(few, body.select(key))


def _only_key(values: DataFrame, body: DataFrame, key: str) -> DataFrame:
    """Return rows with the columns of `body`, all NULL except the key, which is the only column of `values`."""
    (value,) = values.columns
    columns = [F.col(f"`{value}`") if field.name == key else F.lit(None) for field in body.schema.fields]
    types = zip(columns, body.schema.fields, strict=True)
    return values.select(*(column.cast(field.dataType).alias(field.name) for column, field in types))
