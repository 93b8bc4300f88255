"""Goal: Gold shows what Silver shows, and a run touches only what the changes concern.

Method: change histories of the shop in a folder, Silver and Gold run on them. Expected rows are written out.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from batch import gold
from batch.errors import BatchError
from batch.gold.header import parsed
from batch.gold.refresh import difference, gold_table
from config.dataset import load_definition
from tests.lake.lake import LocalLake
from tests.lake.shop_changes import customer, line, order, payment_method

SHOP = load_definition("project_db")


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> LocalLake:
    return LocalLake(spark, tmp_path, SHOP)


def with_gold(lake: LocalLake, folder: Path, name: str, text: str) -> LocalLake:
    """The same lake under a definition with one Gold table."""
    (folder / "gold").mkdir(parents=True, exist_ok=True)
    (folder / "gold" / f"{name}.sql").write_text(text)
    return LocalLake(lake.spark, lake.folder, msgspec.structs.replace(SHOP, folder=str(folder)))


def fact(query: str, *, depends_on: str = "orders(id -> order_id)", key: str = "order_id") -> str:
    """A file's text."""
    return "\n".join([f"-- kind: fact\n-- key: {key}\n-- depends_on: {depends_on}", query])


def members(lake: LocalLake) -> set[tuple[Any, ...]]:
    return lake.gold("dim_customer", "customer_id", "name", "is_inferred")


def test_the_star_shows_the_shop_as_it_is(lake: LocalLake) -> None:
    lake.run(
        [
            customer(1, 1),
            payment_method(2, 2),
            order("a", 3, timestamp="2025-03-01 23:59:59.999999"),
            order("b", 4, customer_id=None, payment_method_id=None, timestamp=None, num_products=2),
            line("a", 5, 5, quantity=4),
            line("b", 6, 6),
            line("without order", 6, 7),
        ]
    )
    columns = ("order_id", "customer_id", "payment_method_id", "store_id", "num_products", "order_date_id")
    assert lake.gold("fact_orders", *columns) == {("a", 1, 2, 3, 1, 20250301), ("b", -1, -1, 3, 2, -1)}
    assert lake.gold("fact_order_products") == {
        ("a", 5, 4, 1, 2, 20250301),
        ("b", 6, 1, -1, -1, -1),
        ("without order", 6, 1, -1, -1, -1),
    }
    assert members(lake) == {(-1, None, False), (1, "n1", False)}
    assert lake.gold("dim_payment_method") == {(-1, None, None, False), (2, "card 2", "bank", False)}
    assert lake.gold("dim_product") == {(-1,), (5,), (6,)}
    days = lake.gold("dim_date", "date_id", "year", "day_of_week", "day_name", "is_weekend")
    assert len(days) == 366
    assert {(-1, None, None, None, None), (20250301, 2025, 6, "Saturday", True)} <= days


def test_a_member_is_inferred_until_its_row_comes_and_again_when_that_goes(lake: LocalLake) -> None:
    lake.run([order("a", 1, customer_id=7), order("b", 2, customer_id=8)], only=["dim_customer"])
    assert members(lake) == {(-1, None, False), (7, None, True), (8, None, True)}
    lake.run([customer(7, 3)], only=["dim_customer"])
    assert members(lake) == {(-1, None, False), (7, "n7", False), (8, None, True)}
    lake.run([customer(7, 4, "d"), order("b", 5, "d", customer_id=8)], only=["dim_customer"])
    assert members(lake) == {(-1, None, False), (7, None, True)}


def test_an_order_that_changes_its_day_moves_to_the_other_partition(lake: LocalLake) -> None:
    by_day = ["dim_date", "fact_orders", "fact_order_products"]
    lake.run([order("a", 1), order("b", 2), line("a", 1, 3)], only=by_day)
    lake.run([order("a", 4, timestamp="2026-07-04 00:00:00")], only=by_day)
    assert lake.gold("fact_orders", "order_id", "order_date_id") == {("a", 20260704), ("b", 20250301)}
    assert lake.gold("fact_order_products", "order_id", "order_date_id") == {("a", 20260704)}
    years = {row[0] for row in lake.gold("dim_date", "year", "date_id")}
    assert years == {None, 2025, 2026}
    lake.run([order("a", 5, "d", timestamp="2026-07-04 00:00:00"), line("b", 2, 6)], only=by_day)
    assert lake.gold("fact_orders", "order_id") == {("b",)}
    assert lake.gold("fact_order_products", "order_id", "order_date_id") == {("a", -1), ("b", 20250301)}
    [plan] = [plan for plan in gold.plans(SHOP) if plan.name == "fact_orders"]
    table = gold_table(plan, lake.context())
    assert table.property("delta.enableDeletionVectors") != "true"
    detail = DeltaTable.forPath(lake.spark, table.path).detail().first()
    assert detail is not None
    assert detail["partitionColumns"] == ["order_date_id"]


def test_what_a_change_does_not_concern_is_not_written(lake: LocalLake) -> None:
    some = ["dim_customer", "dim_product", "fact_orders", "fact_order_products"]
    first = lake.run([customer(1, 1), payment_method(2, 2), order("a", 3), line("a", 5, 4)], only=some)
    again = lake.run(only=some)
    assert all(result.is_unchanged for result in again.values())
    assert {name: result.version for name, result in again.items()} == {n: r.version for n, r in first.items()}
    results = lake.run([order("a", 6, num_products=3), order("b", 7)], only=some)
    written = {name: result.rows_written for name, result in results.items()}
    assert (written["fact_orders"], written["fact_order_products"], written["dim_customer"]) == (2, 0, 0)
    assert results["dim_product"].is_unchanged
    assert all(result.is_unchanged for result in lake.run(only=some).values())


def test_a_lost_feed_or_another_query_builds_the_whole_table(lake: LocalLake, tmp_path: Path) -> None:
    text = fact("SELECT id AS order_id, 1 AS n FROM orders")
    one = with_gold(lake, tmp_path / "one", "fact_n", text)
    one.run([order("a", 1), order("b", 2)], only=["fact_n"])
    other = with_gold(lake, tmp_path / "other", "fact_n", text.replace("1 AS", "2 AS"))
    assert other.build()["fact_n"].rows_written == 2
    assert other.gold("fact_n") == {("a", 2), ("b", 2)}
    other.land([order("a", 3, "d"), order("c", 4)])
    other.refine("orders")
    shutil.rmtree(tmp_path / "silver" / "orders" / "_change_data")
    other.build()
    assert other.gold("fact_n") == {("b", 2), ("c", 2)}


def test_an_aggregate_without_a_mapping_follows_every_change(lake: LocalLake, tmp_path: Path) -> None:
    query = "SELECT store_id, count(*) AS orders FROM orders GROUP BY store_id"
    text = fact(query, depends_on="orders", key="store_id")
    stores = with_gold(lake, tmp_path / "shop", "fact_stores", text)
    stores.run([order("a", 1), order("b", 2), order("c", 3, store_id=9)], only=["fact_stores"])
    result = stores.run([order("c", 4, store_id=3)], only=["fact_stores"])["fact_stores"]
    assert stores.gold("fact_stores") == {(3, 3)}
    assert result.rows_written == 2


def test_a_wrong_query_is_named(lake: LocalLake, tmp_path: Path) -> None:
    def built(query: str) -> None:
        with_gold(lake, tmp_path / "one", "fact_x", fact(query)).build()

    lake.land([order("a", 1)])
    with pytest.raises(BatchError, match=r"gold/fact_x: .*silver/orders"):
        built("SELECT id AS order_id FROM orders")
    lake.refine("orders")
    with pytest.raises(BatchError, match=r"fact_x\.sql: .*customers"):
        built("SELECT id AS order_id FROM customers")
    with pytest.raises(BatchError, match=r"fact_x\.sql .*order_id"):
        built("SELECT id FROM orders")


def test_the_difference_is_what_was_added_changed_or_removed(spark: SparkSession) -> None:
    text = "-- kind: fact\n-- key: k\n-- depends_on: orders\n-- partition: p\nSELECT 1"
    plan = parsed(text, "fact", SHOP)
    schema = "k STRING, p INT, v INT"
    before = spark.createDataFrame([("same", 1, None), ("moved", 1, 5), ("gone", 2, 6), ("changed", 3, None)], schema)
    now = spark.createDataFrame([("same", 1, None), ("moved", 9, 5), ("new", 4, 7), ("changed", 3, 8)], schema)
    found = {tuple(row) for row in difference(before, now, plan).collect()}
    assert found == {
        ("moved", 9, 5, False, 1),
        ("gone", 2, 6, True, 2),
        ("changed", 3, 8, False, 3),
        ("new", 4, 7, False, None),
    }
