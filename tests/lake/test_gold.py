"""Goal: Gold shows what Silver shows, and a run touches only what the changes concern.

Method: change histories of the shop in a folder, Silver and Gold run on them. Expected rows are written out.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from batch import gold
from batch.context import LayerResult
from batch.errors import BatchError
from batch.gold.difference import difference
from batch.gold.header import parsed
from batch.gold.refresh import gold_table
from config.dataset import load_definition
from tests.lake.lake import Change, LocalLake
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


@dataclass(frozen=True)
class Shown:
    """A run of all of Gold, and what the tables show after it."""

    results: dict[str, LayerResult]
    tables: dict[str, set[tuple[Any, ...]]]

    def days_of(self, table: str, *order_ids: str) -> set[tuple[Any, ...]]:
        """Order and day of a fact table's rows."""
        return {(row[0], row[-1]) for row in self.tables[table] if row[0] in order_ids}


COLUMNS = {
    "fact_orders": ("order_id", "customer_id", "payment_method_id", "store_id", "num_products", "order_date_id"),
    "fact_order_products": (),
    "dim_customer": ("customer_id", "name", "is_inferred"),
    "dim_payment_method": (),
    "dim_product": (),
    "dim_date": ("date_id", "year", "day_of_week", "day_name", "is_weekend"),
}
JULY = "2026-07-04 00:00:00"
RUNS: tuple[list[Change], ...] = (
    [
        *(customer(1, 1), payment_method(2, 2), order("a", 3, timestamp="2025-03-01 23:59:59.999999")),
        order("b", 4, customer_id=None, payment_method_id=None, timestamp=None, num_products=2),
        *(line("a", 5, 5, quantity=4), line("b", 6, 6), line("without order", 6, 7)),
        *(order("of 7", 8, customer_id=7), order("of 8", 9, customer_id=8)),
        *(order("moved", 10), order("stays", 11), line("moved", 5, 12)),
    ],
    [],
    [customer(7, 20), order("moved", 21, timestamp=JULY)],
    [
        *(customer(7, 30, "d"), order("of 8", 31, "d", customer_id=8)),
        *(order("moved", 32, "d", timestamp=JULY), line("stays", 6, 33)),
    ],
    [order("a", 40, num_products=3, timestamp="2025-03-01 23:59:59.999999"), order("c", 41)],
    [],
)
"""Stories of different orders: the star, members, an order that moves; runs without news; one that concerns little."""


@pytest.fixture(scope="module")
def star(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> LocalLake:
    return LocalLake(spark, tmp_path_factory.mktemp("star"), SHOP)


@pytest.fixture(scope="module")
def shown(star: LocalLake) -> list[Shown]:
    """The runs, one after the other."""
    found = []
    for changes in RUNS:
        results = star.run(changes)
        found.append(Shown(results, {name: star.gold(name, *columns) for name, columns in COLUMNS.items()}))
    return found


def test_the_star_shows_the_shop_as_it_is(shown: list[Shown]) -> None:
    tables = shown[0].tables
    assert tables["fact_orders"] == {
        ("a", 1, 2, 3, 1, 20250301),
        ("b", -1, -1, 3, 2, -1),
        ("of 7", 7, 2, 3, 1, 20250301),
        ("of 8", 8, 2, 3, 1, 20250301),
        ("moved", 1, 2, 3, 1, 20250301),
        ("stays", 1, 2, 3, 1, 20250301),
    }
    assert tables["fact_order_products"] == {
        ("a", 5, 4, 1, 2, 20250301),
        ("b", 6, 1, -1, -1, -1),
        ("without order", 6, 1, -1, -1, -1),
        ("moved", 5, 1, 1, 2, 20250301),
    }
    assert tables["dim_customer"] == {(-1, None, False), (1, "n1", False), (7, None, True), (8, None, True)}
    assert tables["dim_payment_method"] == {(-1, None, None, False), (2, "card 2", "bank", False)}
    assert tables["dim_product"] == {(-1,), (5,), (6,)}
    days = tables["dim_date"]
    assert len(days) == 366
    assert {(-1, None, None, None, None), (20250301, 2025, 6, "Saturday", True)} <= days


def test_a_member_is_inferred_until_its_row_comes_and_again_when_that_goes(shown: list[Shown]) -> None:
    members = [{row for row in each.tables["dim_customer"] if row[0] in (7, 8)} for each in shown]
    assert members[0] == {(7, None, True), (8, None, True)}
    assert members[2] == {(7, "n7", False), (8, None, True)}
    assert members[3] == {(7, None, True)}


def test_an_order_that_changes_its_day_moves_to_the_other_partition(star: LocalLake, shown: list[Shown]) -> None:
    both = ("moved", "stays")
    assert shown[2].days_of("fact_orders", *both) == {("moved", 20260704), ("stays", 20250301)}
    assert shown[2].days_of("fact_order_products", *both) == {("moved", 20260704)}
    assert {row[1] for row in shown[2].tables["dim_date"]} == {None, 2025, 2026}
    assert shown[3].days_of("fact_orders", *both) == {("stays", 20250301)}
    assert shown[3].days_of("fact_order_products", *both) == {("moved", -1), ("stays", 20250301)}
    [plan] = [plan for plan in gold.plans(SHOP) if plan.name == "fact_orders"]
    table = gold_table(plan, star.context())
    assert table.property("delta.enableDeletionVectors") != "true"
    detail = DeltaTable.forPath(star.spark, table.path).detail().first()
    assert detail is not None
    assert detail["partitionColumns"] == ["order_date_id"]


def test_what_a_change_does_not_concern_is_not_written(shown: list[Shown]) -> None:
    first, again, _, _, little, last = (each.results for each in shown)
    assert all(result.is_unchanged for result in again.values())
    assert {name: result.version for name, result in again.items()} == {n: r.version for n, r in first.items()}
    written = {name: result.rows_written for name, result in little.items()}
    assert (written["fact_orders"], written["fact_order_products"], written["dim_customer"]) == (2, 0, 0)
    assert little["dim_product"].is_unchanged
    assert all(result.is_unchanged for result in last.values())


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


def test_null_in_a_key_and_in_a_partition_is_a_value_like_any_other(lake: LocalLake, tmp_path: Path) -> None:
    text = fact(
        "SELECT store_id, count(*) AS orders FROM orders GROUP BY store_id",
        depends_on="orders(store_id -> store_id)\n-- partition: store_id",
        key="store_id",
    )
    stores = with_gold(lake, tmp_path / "shop", "fact_stores", text)

    def shown(*changes: Change) -> set[tuple[Any, ...]]:
        stores.run(changes, only=["fact_stores"])
        return stores.gold("fact_stores", "store_id", "orders")

    assert shown(order("a", 1, store_id=None), order("b", 2)) == {(None, 1), (3, 1)}
    assert shown(order("c", 3, store_id=None), order("d", 4, store_id=None)) == {(None, 3), (3, 1)}
    assert shown(order("a", 5), order("c", 6)) == {(None, 1), (3, 3)}
    assert shown(order("d", 7, "d")) == {(3, 3)}


def test_a_key_that_a_query_returns_twice_is_an_error(lake: LocalLake, tmp_path: Path) -> None:
    text = fact("SELECT store_id, id FROM orders", depends_on="orders(store_id -> store_id)", key="store_id")
    stores = with_gold(lake, tmp_path / "shop", "fact_stores", text)
    stores.run([order("a", 1)], only=["fact_stores"])
    for full in (False, True):
        with pytest.raises(BatchError, match=r"gold/fact_stores: .*2 rows with the key store_id=3"):
            stores.run([order("b", 2)], only=["fact_stores"], full=full)
    assert stores.gold("fact_stores", "store_id", "id") == {(3, "a")}


def test_the_key_of_a_dimension_may_be_a_text_but_not_that_of_the_unknown_member(
    lake: LocalLake, tmp_path: Path
) -> None:
    text = (
        "-- kind: dimension\n-- key: tier\n-- depends_on: customers(tier -> tier)\nSELECT DISTINCT tier FROM customers"
    )
    tiers = with_gold(lake, tmp_path / "shop", "dim_tier", text)
    tiers.run([customer(1, 1), customer(2, 2, tier=None)], only=["dim_tier"])
    assert tiers.gold("dim_tier", "tier") == {("gold",), ("-1",)}
    tiers.run([customer(1, 3, tier="silver")], only=["dim_tier"])
    assert tiers.gold("dim_tier", "tier") == {("silver",), ("-1",)}
    for full in (False, True):
        with pytest.raises(BatchError, match="gold/dim_tier: a row of the source has the key -1"):
            tiers.run([customer(3, 4, tier="-1")], only=["dim_tier"], full=full)


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
    before = spark.createDataFrame(
        [("same", 1, None), ("moved", 1, 5), ("gone", 2, 6), ("changed", 3, None), (None, 5, 1), ("twice", 6, 1)],
        schema,
    )
    now = spark.createDataFrame(
        [
            ("same", 1, None),
            ("moved", 9, 5),
            ("new", 4, 7),
            ("changed", 3, 8),
            (None, 5, 2),
            ("twice", 6, 1),
            ("twice", 6, 1),
        ],
        schema,
    )
    found = {tuple(row) for row in difference(before, now, plan).collect()}
    assert found == {
        ("moved", 9, 5, False, 1, 1),
        ("gone", 2, 6, True, 2, 0),
        ("changed", 3, 8, False, 3, 1),
        ("new", 4, 7, False, 4, 1),
        (None, 5, 2, False, 5, 1),
        ("twice", 6, 1, False, 6, 2),
    }
