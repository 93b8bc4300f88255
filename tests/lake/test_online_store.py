"""Goal: a source whose names have capitals reaches the lake whole, and its Gold is what its own SQL says.

Method: changes of one customer in an archive in a folder; and generated rows in a real MariaDB, whose oracle queries
are held against the queries of Gold over the same rows.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from pyspark.sql import SparkSession

from batch import bronze
from batch.delta.snapshot import FrameSource
from batch.gold import GoldPlan, plans
from batch.gold.query import rows_of
from batch.reconcile.buckets import difference
from batch.reconcile.queries import gold_rows, oracle_query
from batch.reconcile.sides import LakeSide, SourceSide
from batch.silver import refine
from batch.silver.rules import spark_type
from batch.storage.database import connected
from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.definition import StoreGenerator
from config.lake_names import in_lake
from ops.database import connected as as_owner
from ops.dataset.bulk import OnDuplicate
from ops.dataset.generator.kinds import write_generated
from ops.dataset.generator.load import load_files
from ops.dataset.generator.plan import make_plan
from ops.dataset.schema import create_schema
from stack.local import Stack
from tests.support.lake.bronze_testbed import Archive, envelope, run_context

SOURCE = load_definition("online_store")
STORE = in_lake(SOURCE)
CURRENT = [plan for plan in plans(STORE) if plan.versions_of is None]
CUSTOMER = {
    "CustomerId": 1,
    "Name": "Zoë",
    "Email": "zoe@example.com",
    "PhoneNumber": None,
    "Country": "DE",
    "CreatedAt": "2025-01-01T00:00:00Z",
    "UpdatedAt": "2025-01-01T00:00:00Z",
}


def test_insert_update_and_delete_of_a_customer_are_three_versions(spark: SparkSession, tmp_path: Path) -> None:
    changed = CUSTOMER | {"PhoneNumber": "+49 1", "UpdatedAt": "2025-02-01T00:00:00Z"}
    archive = Archive(tmp_path, f"{SOURCE.topic_prefix}.Customers")
    archive.put(envelope("c", CUSTOMER, pos=1), envelope("u", changed, pos=2), envelope("d", changed, pos=3))
    context, table = run_context(spark, tmp_path, definition=STORE), STORE.table("customers")
    bronze.land(table, context)
    refine.refine(table, context)
    history = context.table("silver", "customers_history").read()
    found = history.orderBy("_sequence").select("customer_id", "phone_number", "_deleted").collect()
    assert [tuple(row) for row in found] == [(1, None, False), (1, "+49 1", False), (1, "+49 1", True)]
    newest = context.table("silver", "customers").read().select("name", "country", "_deleted").collect()
    assert [tuple(row) for row in newest] == [("Zoë", "DE", True)]


def _id(number: int) -> str:
    return str(UUID(int=number))


@pytest.fixture(scope="module")
def login(lake_stack: Stack) -> DatabaseSettings:
    return DatabaseSettings.read(lake_stack.environment())


@pytest.fixture(scope="module")
def files(login: DatabaseSettings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Generated rows, which the database has too, with some that refer to nothing."""
    assert isinstance(SOURCE.generator, StoreGenerator)
    few = msgspec.structs.replace(SOURCE.generator, sellers=12, products=60)
    paths = write_generated(few, make_plan(few, orders=300, customers=80), tmp_path_factory.mktemp("store"))
    for table, line in (
        ("OrderItems", f"{_id(1)},{_id(2)},999,99,2,1.10\n"),
        ("Reasons", f"{_id(3)},{_id(4)},return,lost,1,0.10,2025-01-01 00:00:00.000000\n"),
    ):
        with paths[table].open("a") as file:
            file.write(line)
    with as_owner(login) as connection:
        create_schema(connection, SOURCE, drop=True)
    load_files(login, SOURCE, paths, OnDuplicate.FAIL, lambda line: None)
    return paths


@pytest.fixture(scope="module")
def silver(spark: SparkSession, files: dict[str, Path]) -> dict[str, FrameSource]:
    """The rows as Silver has them."""
    found = {}
    for table in STORE.tables:
        schema = ", ".join(f"`{column.name}` {spark_type(column)}" for column in table.columns)
        times = "yyyy-MM-dd HH:mm:ss.SSSSSS"
        rows = spark.read.schema(schema).csv(str(files[table.source_name]), header=True, timestampFormat=times)
        found[table.name] = FrameSource(rows.selectExpr("*", "false AS _deleted").cache())
    return found


@pytest.mark.parametrize("plan", CURRENT, ids=[plan.name for plan in CURRENT])
def test_gold_is_what_the_source_computes_itself(
    spark: SparkSession, login: DatabaseSettings, silver: dict[str, FrameSource], plan: GoldPlan
) -> None:
    gold = rows_of(plan, {name: silver[name] for name in plan.tables}, spark, None)
    query = oracle_query(STORE, plan, gold)
    assert query is not None, f"oracle/{plan.name}.sql is missing"
    with connected(login, STORE.database) as connection, ThreadPoolExecutor(1) as thread:
        found = difference(SourceSide(connection, query, thread), LakeSide(lambda: gold_rows(gold, plan)))
    assert found.rows == {}
    assert found.lake_rows == found.source_rows > 0


def test_every_gold_table_has_an_oracle() -> None:
    folder = Path(STORE.folder, "oracle")
    assert {plan.name for plan in plans(STORE)} == {path.stem for path in folder.glob("*.sql")}


def test_money_is_never_a_double() -> None:
    assert [column.name for plan in plans(STORE) for column in plan.columns if column.type in ("double", "float")] == []
