"""Goal: each Gold table is what the dataset's own SQL computes from the source.

Method: the rows of each dataset, generated or shipped, in a real MariaDB or PostgreSQL, and in Spark as Silver would
have them; the oracle's answer is held against that of Gold's query. The tables of versions are compared by `make demo`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from pyspark.sql import SparkSession

from batch.delta.snapshot import FrameSource
from batch.gold import GoldPlan, plans
from batch.gold.query import rows_of
from batch.reconcile.buckets import difference
from batch.reconcile.queries import gold_rows, oracle_query
from batch.reconcile.sides import LakeSide, SourceSide
from batch.silver.rules import spark_type
from batch.storage.database import connected
from config.dataset import known_datasets, load_definition
from config.definition import Definition, Generator, ShopGenerator, StoreGenerator
from config.engines import engine_of
from config.engines.base import SourceSettings
from config.lake_names import in_lake
from ops.database import connected as as_owner
from ops.dataset.bulk import OnDuplicate
from ops.dataset.generator.kinds import write_generated
from ops.dataset.generator.plan import make_plan
from ops.dataset.load import load_file, rejected_path
from ops.dataset.schema import create_schema
from ops.dataset.shipped import shipped_files
from stack.local import Stack

DATASETS = ("firma", "online_store", "shop")
PLANS = [(name, plan) for name in DATASETS for plan in plans(load_definition(name)) if plan.versions_of is None]
TIMES = "yyyy-MM-dd HH:mm:ss.SSSSSS"


def _id(number: int) -> str:
    return str(UUID(int=number))


LOOSE = {
    "OrderItems": f"{_id(1)},{_id(2)},999,99,2,1.10\n",
    "Reasons": f"{_id(3)},{_id(4)},return,lost,1,0.10,2025-01-01 00:00:00.000000\n",
}
"""Rows that refer to nothing, by table."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A dataset whose source and Silver have the same rows."""

    definition: Definition
    login: SourceSettings
    silver: dict[str, FrameSource]


def files_of(definition: Definition, folder: Path) -> dict[str, Path]:
    """A few rows of each table."""
    few: Generator
    match definition.generator:
        case StoreGenerator() as store:
            few = msgspec.structs.replace(store, sellers=12, products=60)
        case ShopGenerator() as shop:
            few = msgspec.structs.replace(shop, products=60)
        case _:
            return {name: Path(shutil.copy(path, folder)) for name, path in shipped_files(definition).items()}
    paths = write_generated(few, make_plan(few, orders=300, customers=80), folder)
    for table, line in LOOSE.items():
        if table in paths:
            paths[table].write_text(paths[table].read_text("utf-8") + line, "utf-8")
    return paths


@pytest.fixture(scope="module")
def loaded(
    spark: SparkSession, lake_stack: Stack, postgres_stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Loaded]:
    """Loads a dataset the first time that it is asked for."""
    known: dict[str, Loaded] = {}

    def load(name: str) -> Loaded:
        if name not in known:
            definition = load_definition(name)
            stack = postgres_stack if definition.engine == "postgres" else lake_stack
            login = engine_of(definition).login(stack.environment())
            paths = files_of(definition, tmp_path_factory.mktemp(name))
            fill(login, definition, paths)
            known[name] = Loaded(definition=in_lake(definition), login=login, silver=silver(spark, definition, paths))
        return known[name]

    return load


def fill(login: SourceSettings, definition: Definition, paths: dict[str, Path]) -> None:
    """Load the files, and take the rejected rows out of them."""
    with as_owner(login) as connection:
        create_schema(connection, definition, drop=True)
    with as_owner(login, definition.database, definition.schema) as connection:
        for name, path in paths.items():
            outcome = load_file(connection, definition.table(name), path, on_duplicate=OnDuplicate.FAIL)
            bad = {row.line for row in outcome.examples}
            assert (outcome.rejected, rejected_path(path).exists()) == (len(bad), bool(bad))
            lines = path.read_text("utf-8").splitlines(keepends=True)
            path.write_text("".join(line for number, line in enumerate(lines, start=1) if number not in bad), "utf-8")


def silver(spark: SparkSession, definition: Definition, paths: dict[str, Path]) -> dict[str, FrameSource]:
    """The rows as Silver has them."""
    found = {}
    for table in in_lake(definition).tables:
        schema = ", ".join(f"`{column.name}` {spark_type(column)}" for column in table.columns)
        file = str(paths[table.source_name])
        rows = spark.read.schema(schema).csv(file, header=True, timestampFormat=TIMES, escape='"')
        found[table.name] = FrameSource(rows.selectExpr("*", "false AS _deleted").cache())
    return found


@pytest.mark.parametrize(("dataset", "plan"), PLANS, ids=[f"{name}.{plan.name}" for name, plan in PLANS])
def test_gold_is_what_the_source_computes_itself(
    spark: SparkSession, loaded: Callable[[str], Loaded], dataset: str, plan: GoldPlan
) -> None:
    found = loaded(dataset)
    definition = found.definition
    gold = rows_of(plan, {name: found.silver[name] for name in plan.tables}, spark, None)
    query = oracle_query(definition, plan, gold)
    assert query is not None, f"oracle/{plan.name}.sql is missing"
    with (
        connected(found.login, definition.database, definition.schema) as connection,
        ThreadPoolExecutor(1) as thread,
    ):
        result = difference(SourceSide(connection, query, thread), LakeSide(lambda: gold_rows(gold, plan)))
    assert result.rows == {}
    assert result.lake_rows == result.source_rows > 0


@pytest.mark.parametrize("name", known_datasets())
def test_every_gold_table_has_an_oracle_and_money_is_never_a_double(name: str) -> None:
    definition = load_definition(name)
    found = plans(definition)
    assert {plan.name for plan in found} == {path.stem for path in Path(definition.folder, "oracle").glob("*.sql")}
    assert [column.name for plan in found for column in plan.columns if column.type in ("double", "float")] == []
