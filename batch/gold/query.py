"""The rows that a Gold table's query gives for Silver as it is at one moment, all of them or those of some keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from batch.delta.rows import Rows
from batch.delta.snapshot import Source
from batch.errors import BatchError
from batch.gold.plan import Dependency, GoldPlan, surrogate
from batch.gold.scd import inferred_versions, versions, with_surrogate
from batch.silver.cross_row_rules import values_not_in, values_without

UNKNOWN = -1
"""The key of the member that stands for no value, in every dimension."""


def affected(plan: GoldPlan, feeds: Mapping[str, Rows], table: Source) -> DataFrame | None:
    """The keys (`plan.mapped`) that the change feeds concern; None: all.

    A key that is merely referred to concerns the table (its rows as they are now) only if its member is inferred or is
    not there: a member that the query gives does not depend on references to it.
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
        assert own is not None, "there is a feed of a table that concerns the plan"
        return own
    (key,) = plan.key
    known = Rows.of(referred.where(F.col(key).isNotNull())).collect_if_small()
    given = "NOT is_inferred" if plan.versions_of is None else "NOT is_inferred AND is_current"
    loose = values_not_in(known, table, key, where=given)
    return loose if own is None else loose.unionByName(own).distinct()


def _concerned(concerns: Iterable[Dependency], feeds: Mapping[str, Rows]) -> DataFrame | None:
    """The keys by which the feeds concern rows; None: all, or none at all."""
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
    """The rows of a Gold table, members that the query does not give included.

    Args:
        sources: the tables it is made of, as they are at one moment: Silver's tables by their names, with their
            tombstones, and the dimensions whose versions it names by `gold_source`.
        keys: restrict the rows to these (in the columns `plan.mapped`); the unknown member comes all the same.

    Raises:
        BatchError: the query is wrong, or does not give the columns that the header names.
    """
    body = _body(plan, sources, spark, keys)
    for link in plan.links:
        dimension = sources[gold_source(link.dimension)]
        if keys is None:
            members = dimension.frame
        else:
            named = Rows.of(body.select(link.key).distinct()).collect_if_small()
            members = dimension.with_keys(named, [(link.key, link.key)]).frame
        members = members.where(F.col(link.key) != F.lit(UNKNOWN))
        body = with_surrogate(body, link, members, UNKNOWN)
    body = body.drop(*(name for name in body.columns if name.startswith("_")))
    return _with_members(plan, sources, spark, keys, body) if plan.has_members else body


def gold_source(dimension: str) -> str:
    """The name of a dimension among the sources of a table; no Silver table has such a name."""
    return f"gold/{dimension}"


def _body(plan: GoldPlan, sources: Mapping[str, Source], spark: SparkSession, keys: Rows | None) -> DataFrame:
    """The rows of the query."""
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
        text = f"the query in {plan.name}.sql lacks the column {', '.join(missing)}, which its header names"
        raise BatchError(text, layer="gold", table=plan.name)
    return body


def _with_members(
    plan: GoldPlan, sources: Mapping[str, Source], spark: SparkSession, keys: Rows | None, body: DataFrame
) -> DataFrame:
    """The rows of a dimension, with the members that its query does not give: the unknown one, and the inferred."""
    (key,) = plan.key
    unknown = _only_key(spark.range(1).select(F.lit(UNKNOWN)), body, key)
    if plan.versions_of is not None:
        unknown = unknown.withColumns({surrogate(key): F.lit(UNKNOWN).cast("long"), "is_current": F.lit(True)})
    members = [body.where(F.col(key) != F.lit(UNKNOWN)), unknown]
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


def _restricted(
    sources: Mapping[str, Source], concern: Dependency, keys: Rows | None, *, columns: Sequence[str] = ()
) -> DataFrame:
    """The rows that concern these keys; all, if any row concerns every key."""
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
        body = spark.sql(plan.query)
    except AnalysisException as error:
        text = next(iter(str(error).splitlines()), "")
        raise BatchError(f"invalid query in {plan.name}.sql: {text}", layer="gold", table=plan.name) from None
    finally:
        for name in views:
            spark.catalog.dropTempView(name)
    return body


def _inferred(plan: GoldPlan, sources: Mapping[str, Source], keys: Rows | None, body: DataFrame) -> DataFrame:
    """The keys that are referred to and that the query gives no row for."""
    (key,) = plan.key
    found: DataFrame | None = None
    for concern in plan.inferring:
        ((own, _),) = concern.columns
        rows = _restricted(sources, concern, keys, columns=(own, "_deleted")).where("NOT _deleted")
        values = rows.select(F.col(own).cast(body.schema[key].dataType).alias("_value"))
        found = values if found is None else found.unionByName(values)
    assert found is not None
    wanted = found.where(F.col("_value").isNotNull() & (F.col("_value") != F.lit(UNKNOWN))).distinct()
    few = wanted if keys is None else Rows.of(wanted).collect_if_small().frame
    return values_without(few, body.select(key))


def _only_key(values: DataFrame, body: DataFrame, key: str) -> DataFrame:
    """Rows like those of `body` that have their key (the one column of `values`) and nothing else."""
    (value,) = values.columns
    columns = [F.col(f"`{value}`") if field.name == key else F.lit(None) for field in body.schema.fields]
    types = zip(columns, body.schema.fields, strict=True)
    return values.select(*(column.cast(field.dataType).alias(field.name) for column, field in types))
