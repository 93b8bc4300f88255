"""Goal: what the Gold files say of their columns is so: names, order, types, and what they are made of.

Method: Spark analyses each file's query on empty Silver tables, also without one of their columns at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pyspark.sql import SparkSession

from batch.delta.snapshot import FrameSource
from batch.dictionary import INFERRED
from batch.errors import BatchError
from batch.gold import GoldPlan, plans
from batch.gold.query import rows_of
from batch.silver.rules import spark_type
from config.dataset import known_datasets, load_definition
from config.definition import Definition
from config.lake_names import in_lake

EVERY = [
    (definition, plan)
    for definition in (in_lake(load_definition(name)) for name in known_datasets())
    for plan in plans(definition)
    if plan.versions_of is None  # a table of versions has the columns of the file that it comes from
]
SLOW = [
    pytest.param(definition, plan, marks=[] if definition.completes_orders else [pytest.mark.nightly])
    for definition, plan in EVERY
]
"""Only the default dataset's on every push: Spark analyses a query once for each column that it may read."""

NAMES = [f"{definition.name}.{plan.name}" for definition, plan in EVERY]


def silver(spark: SparkSession, definition: Definition, plan: GoldPlan) -> dict[str, FrameSource]:
    """The Silver tables that the plan reads, empty."""
    found = {}
    for name in plan.tables:
        columns = definition.table(name).columns
        schema = ", ".join(f"`{column.name}` {spark_type(column)}" for column in columns)
        found[name] = FrameSource(spark.createDataFrame([], f"{schema}, _deleted BOOLEAN"))
    return found


def is_understood(spark: SparkSession, plan: GoldPlan, tables: Mapping[str, FrameSource]) -> bool:
    """Whether Spark finds all that the plan names."""
    try:
        assert rows_of(plan, tables, spark, None).columns
    except BatchError:
        return False
    return True


@pytest.mark.parametrize(("definition", "plan"), EVERY, ids=NAMES)
def test_every_column_is_described_with_its_type(spark: SparkSession, definition: Definition, plan: GoldPlan) -> None:
    rows = rows_of(plan, silver(spark, definition, plan), spark, None)
    described = [(column.name, column.type) for column in plan.columns]
    if plan.inferred_from:
        described.append((INFERRED, "boolean"))
    assert described == [(field.name, field.dataType.simpleString()) for field in rows.schema.fields]


@pytest.mark.parametrize(("definition", "plan"), SLOW, ids=NAMES)
def test_the_columns_it_is_made_of_are_those_that_the_query_reads(
    spark: SparkSession, definition: Definition, plan: GoldPlan
) -> None:
    tables = silver(spark, definition, plan)
    read = {
        (each.table, name)
        for each in plan.depends_on
        for name in definition.table(each.table).column_names
        if not is_understood(spark, plan, tables | {each.table: FrameSource(tables[each.table].frame.drop(name))})
    }
    said = {source for column in plan.columns for source in column.sources}
    keys = {(each.table, own) for each in plan.depends_on for own, _ in each.columns}
    assert read <= said | keys
    assert said <= read | set(plan.inferred_from)
