"""Goal: a backfill lands what Bronze does not say already, once, and neither it nor a repetition beats a later change.

Method: a real MariaDB, and a lake in folders whose tables are read by JDBC or from changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from batch import bronze
from batch.context import LayerResult, RunContext
from batch.silver import refine
from batch.storage.database import connected
from config.database_settings import DatabaseSettings
from config.engines.base import Connection
from ops.database import connected as as_owner
from ops.dataset.schema import create_schema
from stack.local import Stack
from streams.topics import change_topic
from tests.support.lake.bronze_testbed import DEFINITION, Archive, content, envelope, fed_by_jdbc, picked, run_context

ORDERS = DEFINITION.table("orders")
MARCH = datetime(2025, 3, 1, tzinfo=UTC)


class BackfillTestbed:
    """A shop's database, and a lake of its orders."""

    def __init__(self, spark: SparkSession, folder: Path, database: DatabaseSettings, shop: Connection) -> None:
        self.folder = folder
        self._spark, self._database, self._shop = spark, database, shop

    def execute(self, statement: str) -> None:
        """Change the database."""
        with self._shop.cursor() as cursor:
            cursor.execute(statement)

    def order(self, id_: str, *, at: str = "2025-03-01 10:00:00", customer: int = 1) -> None:
        """Write an order, new or anew."""
        self.execute(f"REPLACE INTO orders VALUES ('{id_}', {customer}, 2, 3, 4, '{at}')")  # noqa: S608

    def context(self, **more: Any) -> RunContext:
        """A run."""
        return run_context(self._spark, self.folder, database=self._database, **more)

    def by_key(self, *ids: str) -> LayerResult:
        """A backfill of some orders."""
        return bronze.land_rows(ORDERS, [(id_,) for id_ in ids], self.context(), only_new=True)

    def rows(self, *names: str) -> list[tuple[Any, ...]]:
        """Bronze."""
        return picked(content(self.context(), "orders"), *names)

    def silver(self) -> dict[str, tuple[int | None, bool]]:
        """Silver after a run: customer of each order, and whether it is deleted."""
        context = self.context()
        refine.refine(ORDERS, context)
        rows = context.table("silver", "orders").read().collect()
        return {row["id"]: (row["customer_id"], row["_deleted"]) for row in rows}


@pytest.fixture
def testbed(spark: SparkSession, tmp_path: Path, lake_stack: Stack) -> Iterator[BackfillTestbed]:
    """The empty tables of the shop, and no lake yet."""
    database = DatabaseSettings.read(lake_stack.environment())
    with as_owner(database, None) as owner:
        create_schema(owner, DEFINITION, drop=True)
    with connected(database, DEFINITION.database) as shop:
        yield BackfillTestbed(spark, tmp_path, database, shop)


def changed(id_: str, pos: int, customer: int, op: str = "c") -> bytes:
    """A change of an order as the connector delivers it."""
    row = {"id": id_, "customer_id": customer, "store_id": 2, "payment_method_id": 3, "num_products": 4}
    return envelope(op, row | {"timestamp": "2025-03-01T10:00:00Z"}, pos=pos, file="binlog.000001")


@pytest.fixture
def archive(testbed: BackfillTestbed) -> Archive:
    """The archive of the orders' changes, with the orders a, b and c, which the source has too."""
    archive = Archive(testbed.folder, change_topic("project_db", "orders"))
    archive.put(*(changed(id_, pos, 1) for pos, id_ in enumerate("abc", 4)))
    for id_ in "abc":
        testbed.order(id_)
    bronze.land(ORDERS, testbed.context())
    return archive


def test_rows_that_bronze_has_are_not_landed_again(testbed: BackfillTestbed, archive: Archive) -> None:
    result = testbed.by_key("a", "b")
    assert (result.is_unchanged, result.rows_in, result.rows_written) == (True, 2, 0)
    assert len(testbed.rows("id")) == 3


def test_what_the_changes_did_not_bring_is_landed_once(testbed: BackfillTestbed, archive: Archive) -> None:
    testbed.order("a", customer=9)
    testbed.order("d")
    testbed.execute("ALTER TABLE orders ADD fee DECIMAL(5, 2) DEFAULT 1.50, ADD picture BLOB DEFAULT 'x'")
    testbed.execute("DELETE FROM orders WHERE id = 'b'")
    assert testbed.by_key("a", "b", "c", "d", "nobody").rows_written == 3
    assert testbed.rows("id", "_rest") == [
        ("a", None),
        ("a", '{"fee":"1.50"}'),  # what the lake cannot read is left out
        ("b", None),
        ("b", None),
        ("c", None),
        ("d", '{"fee":"1.50"}'),
    ]
    assert testbed.silver() == {"a": (9, False), "b": (None, True), "c": (1, False), "d": (1, False)}
    assert testbed.by_key("a", "b", "c", "d", "nobody").is_unchanged


def test_a_later_change_wins_and_one_from_before_does_not(testbed: BackfillTestbed, archive: Archive) -> None:
    testbed.order("a", customer=9)
    testbed.by_key("a")
    archive.put(changed("a", 90, 5, "u"))
    bronze.land(ORDERS, testbed.context())
    assert testbed.silver()["a"] == (9, False), "the change is from before the backfill"
    value = changed("a", 4, 7, "u").replace(b"binlog.000001", b"binlog.000999")
    archive.put(value)
    bronze.land(ORDERS, testbed.context())
    assert testbed.silver()["a"] == (7, False)


@pytest.mark.nightly  # the commands' tests take a window on every push
def test_a_window_takes_what_it_holds_and_deletes_nothing(testbed: BackfillTestbed, archive: Archive) -> None:
    testbed.order("a", customer=9, at="2025-02-28 23:59:59.999999")
    testbed.order("b", customer=9, at="2025-03-01 00:00:00")
    testbed.order("c", customer=9, at="2025-03-02 00:00:00")
    testbed.execute("DELETE FROM orders WHERE id = 'a'")
    day = MARCH.replace(day=2)
    assert bronze.land_window(ORDERS, MARCH, day, testbed.context()).rows_written == 1
    assert testbed.silver() == {"a": (1, False), "b": (9, False), "c": (1, False)}
    assert bronze.land_window(ORDERS, MARCH, day, testbed.context()).is_unchanged
    assert bronze.land_window(ORDERS, MARCH, None, testbed.context()).rows_written == 1
    assert testbed.silver()["c"] == (9, False)


@pytest.mark.nightly  # test_bronze_jdbc reads windows on every push
def test_a_table_that_is_read_by_jdbc_goes_on_with_its_windows(testbed: BackfillTestbed) -> None:
    definition, orders = fed_by_jdbc("orders")

    def land() -> LayerResult:
        return bronze.land(orders, testbed.context(definition=definition))

    testbed.order("a", at="2025-01-01 00:00:00")
    first = land()
    testbed.order("late", at="2025-01-01 00:00:00")
    assert land().is_unchanged, "its cursor is before the window"
    january = datetime(2025, 1, 1, tzinfo=UTC)
    result = bronze.land_window(orders, january, None, testbed.context(definition=definition))
    assert (result.rows_in, result.rows_written) == (2, 1)
    assert result.progress["anchor"] == first.progress["anchor"]
    assert testbed.rows("id") == [("a",), ("late",)]
    testbed.execute("INSERT INTO orders VALUES ('new', 1, 2, 3, 4, NOW(6))")
    assert land().rows_written == 1
