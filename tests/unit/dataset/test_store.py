"""Goal: the marketplace's generated rows are whole, repeat with their seed, and live on without breaking an order.

Method: small files of the shipped definition, read back; and a simulated life on a database of dictionaries.
"""

from __future__ import annotations

import csv
import threading
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config.dataset import load_definition
from config.definition import StoreGenerator
from config.engines import engine_of
from ops.dataset.generator import store_rows
from ops.dataset.generator.kinds import write_generated
from ops.dataset.generator.plan import make_plan
from ops.dataset.shop import Details
from ops.dataset.simulation import Simulation
from ops.dataset.store_life import StoreLife
from ops.dataset.values import fault
from stack.errors import StackError

from .fakes import FakeClock

DEFINITION = load_definition("online_store")
assert isinstance(DEFINITION.generator, StoreGenerator)
PARAMETERS: StoreGenerator = DEFINITION.generator
PLAN = make_plan(PARAMETERS, orders=400, customers=100)
Rows = dict[str, list[dict[str, str]]]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    paths = write_generated(PARAMETERS, PLAN, tmp_path_factory.mktemp("store"))
    return {table: list(csv.DictReader(path.read_text("utf-8").splitlines())) for table, path in paths.items()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    def contents(name: str, seed: int) -> dict[str, bytes]:
        plan = make_plan(PARAMETERS, orders=50, customers=20, seed=seed)
        return {table: path.read_bytes() for table, path in write_generated(PARAMETERS, plan, tmp_path / name).items()}

    first = contents("a", 1)
    assert contents("b", 1) == first
    assert all(content != first[table] for table, content in contents("c", 2).items())


def test_size_1_has_the_counts_of_the_dataset() -> None:
    plan = make_plan(PARAMETERS)
    assert (plan.customers, PARAMETERS.sellers, PARAMETERS.products, plan.orders) == (20_000, 500, 5_000, 100_000)


def test_every_table_has_rows_and_every_value_fits_its_column(rows: Rows) -> None:
    literal = engine_of(DEFINITION).literal
    assert list(rows) == [table.name for table in DEFINITION.tables]
    for table in DEFINITION.tables:
        assert rows[table.name], table.name
        for row in rows[table.name]:
            assert [fault(column, row[column.name], literal) for column in table.columns] == [None] * len(row)


def test_keys_are_unique_and_references_point_to_rows_that_exist(rows: Rows) -> None:
    keys = {table.name: [row[table.key[0]] for row in rows[table.name]] for table in DEFINITION.tables}
    assert all(len(set(found)) == len(found) for found in keys.values())
    for table, column, parent in (
        ("Products", "SellerId", "Sellers"),
        ("Orders", "CustomerId", "Customers"),
        ("OrderItems", "OrderId", "Orders"),
        ("OrderItems", "ProductId", "Products"),
        ("Payments", "OrderId", "Orders"),
        ("Reasons", "OrderItemId", "OrderItems"),
    ):
        assert {row[column] for row in rows[table]} <= set(keys[parent]), (table, column)


def test_an_order_is_the_sum_of_its_lines_and_so_is_its_payment(rows: Rows) -> None:
    sums = defaultdict[str, Decimal](Decimal)
    for item in rows["OrderItems"]:
        sums[item["OrderId"]] += int(item["Quantity"]) * Decimal(item["UnitPrice"])
    assert {row["OrderId"]: Decimal(row["TotalAmount"]) for row in rows["Orders"]} == sums
    assert all(Decimal(row["Amount"]) == sums[row["OrderId"]] for row in rows["Payments"])


def test_returned_and_cancelled_orders_alone_have_reasons_and_refunded_payments(rows: Rows) -> None:
    status = {row["OrderId"]: row["Status"] for row in rows["Orders"]}
    order_of = {row["OrderItemId"]: row["OrderId"] for row in rows["OrderItems"]}
    ended = {order for order, name in status.items() if name in ("returned", "cancelled")}
    assert {order_of[row["OrderItemId"]] for row in rows["Reasons"]} == ended
    assert {row["OrderId"] for row in rows["Payments"] if row["Status"] == "refunded"} == ended
    assert all(store_rows.KIND_OF[status[order_of[row["OrderItemId"]]]] == row["Kind"] for row in rows["Reasons"])
    assert set(status.values()) == {"new", "paid", "shipped", "delivered", "returned", "cancelled"}


class FakeStore:
    """The answers that a life needs, and the transactions that it committed; orders are kept with their status."""

    def __init__(self) -> None:
        self.orders: dict[str, str] = {}
        self.transactions: list[list[tuple[str, tuple[Any, ...]]]] = []

    def read(self, text: str, values: tuple[Any, ...] = ()) -> list[Any]:
        if text.startswith("SELECT MAX"):
            return [(50,)]
        if text.startswith("SELECT Status"):
            return [(self.orders[values[0]],)] if values[0] in self.orders else []
        if "FROM Products WHERE ProductId IN" in text:
            return [(product, 1, Decimal("2.50")) for product in sorted(values)]
        if "FROM OrderItems" in text:
            return [("item 1", 2, Decimal("2.50")), ("item 2", 1, Decimal("4.00"))]
        if text.startswith("SELECT OrderId FROM Orders"):
            return []
        return [(Decimal("3.10"),)]

    def commit(self, transaction: list[tuple[str, tuple[Any, ...]]]) -> None:
        self.transactions.append(transaction)
        for text, values in transaction:
            if text.startswith("INSERT INTO Orders"):
                self.orders[values[0]] = "new"
            elif text.startswith("UPDATE Orders"):
                self.orders[values[1]] = values[0]
            elif text.startswith("DELETE FROM Orders"):
                del self.orders[values[0]]


def lived(count: int) -> tuple[FakeStore, StoreLife]:
    store = FakeStore()
    simulation = Simulation(count=count, seed=3, salt="test", insert_p=0.3, update_p=0.65, delete_p=0.05)
    life = StoreLife(store, PARAMETERS, simulation, FakeClock())  # type: ignore[arg-type]
    life.run(threading.Event())
    return store, life


def test_a_life_has_returns_and_refunds_and_one_transaction_for_each_operation() -> None:
    store, life = lived(3_000)
    assert life.summary.transactions == life.summary.operations - life.summary.skipped
    kinds = Counter(values[2] for each in store.transactions for text, values in each if "INTO Reasons" in text)
    assert kinds["return"] > 0
    assert kinds["refund"] > 0
    assert {"paid", "shipped", "delivered", "returned", "cancelled"} <= set(store.orders.values())


def test_a_refund_is_for_all_lines_and_a_return_for_one() -> None:
    store, _ = lived(3_000)
    for transaction in store.transactions:
        reasons = [values for text, values in transaction if "INTO Reasons" in text]
        if reasons:
            assert [values[5] for values in reasons] == [Decimal("5.00"), Decimal("4.00")][: len(reasons)]
            assert len(reasons) == {"return": 1, "refund": 2}[reasons[0][2]]


def test_lines_in_transactions_of_their_own_are_refused() -> None:
    with pytest.raises(StackError, match="--details"):
        StoreLife(FakeStore(), PARAMETERS, Simulation(details=Details.LATER), FakeClock())  # type: ignore[arg-type]
