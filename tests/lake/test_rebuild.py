"""Goal: a lake made anew from the archive alone is the one that runs built bit by bit, histories included.

Method: archive objects written as `streams.archive` does, in folders, with late and repeated changes; three runs, then
a rebuild. The source database is asked only where a table is read by JDBC.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyspark.sql import SparkSession

from batch import bronze, gold
from batch.bronze.table import FEED, bronze_table
from batch.commands.rebuild import concerned
from batch.context import LayerResult, RunContext
from batch.errors import BatchError
from batch.pipeline.plan import steps
from batch.pipeline.runner import Step
from batch.pipeline.tables import lake_table
from batch.silver import refine
from batch.silver.history import history_table
from batch.storage.database import connected
from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.definition import Column, LogicalType
from ops.database import connected as as_owner
from ops.dataset.schema import create_schema
from stack.local import Stack
from streams.topics import change_topic
from tests.lake.shop_changes import shop_with
from tests.support.lake.bronze_testbed import Archive, envelope, run_context
from tests.support.lake.delta_rows import delta_rows

SHOP = shop_with(2)
CUSTOMERS = SHOP.table("customers")
SHOWN = {"dim_customer", "fact_orders"}
AN_HOUR_MS = 3_600_000
LATER = {"fee": "12.50", "seen": "2025-01-01T00:00:00.5Z", "tags": {"a": [1]}, "is_new": True, "share": 1.5e-7}
"""Columns that the source has, and the definition gets later."""

_LATER = (
    Column(name="fee", type=LogicalType.DECIMAL, precision=10, scale=3),
    Column(name="seen", type=LogicalType.TIMESTAMP),
    Column(name="tags", type=LogicalType.STRING),
    Column(name="is_new", type=LogicalType.BOOLEAN),
    Column(name="share", type=LogicalType.DOUBLE),
)
WIDER = msgspec.structs.replace(
    SHOP,
    tables=tuple(
        msgspec.structs.replace(table, columns=(*table.columns, *_LATER)) if table is CUSTOMERS else table
        for table in SHOP.tables
    ),
)


def customer(pos: int, op: str = "u", *, id_: int = 7, tier: str = "gold", **source: Any) -> bytes:
    values = {"id": id_, "name": "Zoë", "email": "z@example.com", "phone": None, "tier": tier, **LATER}
    times = {"created_at": "2025-01-01T00:00:00Z", "updated_at": "2025-06-01T12:30:00Z"}
    return envelope(op, values | times, pos=pos, ts_ms=1_740_000_000_000 + pos * AN_HOUR_MS, **source)


def order(pos: int, id_: str, day: int) -> bytes:
    values = {"id": id_, "customer_id": 7, "store_id": 1, "payment_method_id": 1, "num_products": 1}
    return envelope("c", {**values, "timestamp": f"2025-03-{day:02d}T10:00:00Z"}, pos=pos)


def brought_up(context: RunContext, only: Iterable[str] | None = None) -> dict[str, LayerResult]:
    """What a run, or a rebuild, of the tables shown here does."""
    chosen = steps(context, layer=None, table=None)
    tables = {"customers", "orders"} | SHOWN if only is None else set(only)
    return {step.name: step.work() for step in chosen if _is_of(step, tables)}


def _is_of(step: Step, tables: set[str]) -> bool:
    return step.table in tables or step.name in tables


def everything(context: RunContext) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of Silver, its history and Gold, but for the run that wrote them."""
    named = [
        ("silver", "customers"),
        ("silver", "customers_history"),
        ("silver", "orders"),
        *(("gold", n) for n in SHOWN),
    ]
    found = {}
    for layer, name in named:
        rows = delta_rows(lake_table(context.spark, context.lake, context.definition, layer, name).path)
        kept = [tuple(value for key, value in row.items() if key != "_run_id") for row in rows]
        found[f"{layer}/{name}"] = sorted(kept, key=repr)
    return found


@pytest.fixture
def filled(spark: SparkSession, tmp_path: Path) -> Path:
    """A lake that three runs have filled; its folder."""
    customers = Archive(tmp_path, change_topic("project_db", "customers"))
    orders = Archive(tmp_path, change_topic("project_db", "orders"))
    customers.put(customer(10, "c", tier="basic"), customer(11, "c", id_=8))
    orders.put(order(12, "a", 1), order(13, "b", 20))
    brought_up(run_context(spark, tmp_path, definition=SHOP))
    # From here on, the definition has more columns.
    customers.put(customer(40), customer(10, "c", tier="basic"), customer(41, "d", id_=8))
    # Two customers have two contents at one position each, which come in both orders.
    customers.put(customer(50, "c", id_=9, tier="one"), customer(51, "c", id_=10, tier="two"))
    brought_up(run_context(spark, tmp_path, definition=WIDER))
    customers.put(customer(30, tier="silver"), None, customer(60, "c", id_=8, tier="back"))
    customers.put(customer(50, "c", id_=9, tier="two"), customer(51, "c", id_=10, tier="one"))
    orders.put(order(61, "c", 5))
    brought_up(run_context(spark, tmp_path, definition=WIDER))
    return tmp_path


def test_a_rebuild_gives_every_row_that_the_runs_gave(spark: SparkSession, filled: Path) -> None:
    context = run_context(spark, filled, definition=WIDER)
    before = everything(context)
    assert [row[4] for row in before["silver/customers_history"] if row[0] == 7] == ["basic", "gold", "silver"]
    assert len([row for row in before["silver/customers_history"] if row[0] in {9, 10}]) == 4
    # Rows from before the definition had these columns have them too.
    seen = datetime(2025, 1, 1, microsecond=500_000)
    later = (Decimal("12.500"), seen, '{"a":[1]}', True, 1.5e-7)
    assert {row[7:12] for row in before["silver/customers_history"]} == {later}
    # What no archive has is left out, and said.
    repaired = bronze_table(WIDER.table("customers"), context)
    repaired.progress()
    stray = repaired.read().where("id = 8").limit(1).selectExpr("* EXCEPT (_origin)", "'jdbc' AS _origin")
    repaired.append(stray, run_id="repair", progress={})
    rebuilt = dataclasses.replace(context, full=True, is_rebuild=True)
    results = brought_up(rebuilt, concerned(WIDER, "customers") - {"gold/fact_order_products"})
    assert results["bronze/customers"].note == "1 row versions read directly from the source were dropped"
    assert not any(result.is_unchanged for result in results.values())
    assert everything(context) == before
    after = brought_up(run_context(spark, filled, definition=WIDER))
    assert all(result.is_unchanged for result in after.values())


def test_after_a_fail_over_the_new_server_wins_in_every_run_and_in_a_rebuild(
    spark: SparkSession, tmp_path: Path
) -> None:
    customers = Archive(tmp_path, change_topic("project_db", "customers"))
    first: dict[str, Any] = {"file": "binlog.000812"}
    second: dict[str, Any] = {"file": "binlog.000003", "name": "project_db.e1"}
    third: dict[str, Any] = {"file": "binlog.000001", "name": "project_db.e2"}
    customers.put(customer(10, "c", tier="old", **first), customer(50, "c", id_=8, tier="old", **first))
    customers.put(customer(4, "r", tier="second", **second), customer(4, "r", id_=8, tier="second", **second))
    bronze.land(CUSTOMERS, run_context(spark, tmp_path, definition=SHOP))
    # The backlog of the first server arrives after the second one's snapshot, and the third server deletes a row.
    customers.put(customer(99, tier="late", **first), customer(2, "r", tier="third", **third))
    customers.put(customer(2, "r", id_=8, tier="third", **third), customer(3, "d", id_=8, **third))
    for is_rebuild in (False, True):
        context = run_context(spark, tmp_path, definition=SHOP, full=is_rebuild, is_rebuild=is_rebuild)
        bronze.land(CUSTOMERS, context)
        refine.refine(CUSTOMERS, context)
        rows = context.table("silver", "customers").read()
        assert {row["id"]: row["tier"] for row in rows.where("NOT _deleted").collect()} == {7: "third"}


def test_an_archive_that_was_emptied_stops_a_rebuild(spark: SparkSession, tmp_path: Path) -> None:
    topic = change_topic("project_db", "customers")
    path = Archive(tmp_path, topic).put(customer(10, "c"))
    bronze.land(CUSTOMERS, run_context(spark, tmp_path, definition=SHOP))
    path.unlink()
    context = run_context(spark, tmp_path, definition=SHOP, full=True, is_rebuild=True)
    with pytest.raises(BatchError, match=f"bronze/.*{topic}"):
        bronze.land(CUSTOMERS, context)


def die(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.nightly
def test_a_table_changes_its_feed_by_a_rebuild_and_keeps_its_rows(
    spark: SparkSession, tmp_path: Path, lake_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = DatabaseSettings.read(lake_stack.environment())
    with as_owner(database, None) as owner:
        create_schema(owner, SHOP, drop=True)
    with connected(database, SHOP.database) as connection, connection.cursor() as cursor:
        times = "'2025-01-01', '2025-06-01 12:30:00'"
        for id_, tier in ((7, "gold"), (8, "back")):
            cursor.execute(f"INSERT INTO customers VALUES ({id_}, 'Zoë', 'z@example.com', NULL, '{tier}', {times})")  # noqa: S608
    by_jdbc = msgspec.structs.replace(CUSTOMERS, feed="jdbc")
    refined: dict[str, list[tuple[Any, ...]]] = {}
    archive = Archive(tmp_path, change_topic("project_db", "customers"))
    archive.put(customer(10, "c", tier="basic"), customer(40), customer(60, "c", id_=8, tier="back"))
    for name, table in (("jdbc", by_jdbc), ("changes", CUSTOMERS), ("jdbc again", by_jdbc)):
        context = run_context(spark, tmp_path, definition=SHOP, database=database)
        if refined:
            with pytest.raises(BatchError, match="rebuild --table customers`"):
                bronze.land(table, context)
        rebuilding = dataclasses.replace(context, full=True, is_rebuild=True)
        if refined:  # a rebuild that fails midway leaves a table that no ordinary run continues
            with monkeypatch.context() as patched:
                patched.setattr("batch.delta.spark_table.SparkTable.replace", die)
                with pytest.raises(KeyboardInterrupt):
                    bronze.land(table, rebuilding)
            with pytest.raises(BatchError, match="rebuild --table customers`"):
                bronze.land(table, run_context(spark, tmp_path, definition=SHOP, database=database))
        bronze.land(table, rebuilding)
        refine.refine(table, rebuilding)
        rows = context.table("silver", "customers").read().where("NOT _deleted")
        refined[name] = sorted(tuple(row) for row in rows.select(*table.column_names).collect())
        assert bronze_table(table, context).property(FEED) == table.feed
    assert refined["jdbc"] == refined["changes"] == refined["jdbc again"]
    assert [row[4] for row in refined["changes"]] == ["gold", "back"]
    kept = history_table(CUSTOMERS, context)
    assert kept is not None
    assert kept.read().count() == 2


def test_a_rebuild_of_one_table_takes_all_of_gold_that_shows_it() -> None:
    assert concerned(SHOP, "payment_method") == {
        "bronze/payment_method",
        "silver/payment_method",
        "gold/dim_payment_method",
    }
    # The facts name versions of customers.
    facts = {"gold/fact_orders", "gold/fact_order_products"}
    assert concerned(SHOP, "customers") == {"bronze/customers", "silver/customers", "gold/dim_customer"} | facts
    plain = load_definition("project_db")
    assert not concerned(plain, "customers") & facts
    assert {f"gold/{plan.name}" for plan in gold.plans(plain)} < concerned(plain, None)
