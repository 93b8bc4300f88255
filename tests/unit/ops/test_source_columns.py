"""Goal: a source that no longer is as its definition says is named once, and again only when something else differs.

Method: the columns of a database in memory; no server.
"""

from __future__ import annotations

from typing import Any, cast

import pytest
from msgspec.structs import replace

from config.dataset import load_definition
from config.definition import Column, LogicalType
from config.engines.base import Connection, SourceSettings
from ops.connector import source_columns
from ops.connector.exposition import WatchCollector
from ops.connector.source_columns import COMPARE_S, Difference, SourceComparison, source_differences
from stack.errors import StackError
from tests.unit.ops.watched_connector import NAME, World

SHOP = load_definition("project_db")
KINDS = {"uuid": "char", "integer": "int", "timestamp": "datetime", "string": "varchar", "bigint": "bigint"}


class Database:
    """A connection to a database, which has the tables of the definition at first."""

    def __init__(self) -> None:
        self.engine: Any = self
        self.decimals: list[tuple[str, str, int, int]] = []
        self.kinds = {table_type: {kind} for table_type, kind in KINDS.items()}
        self.tables = {
            table.source_name: {column.source_name: KINDS[column.type] for column in table.columns}
            for table in SHOP.tables
        }

    def column_types(self, _: object) -> dict[str, dict[str, str]]:
        return self.tables

    def rows(self, _: str, values: tuple[str]) -> list[tuple[str, str, int, int]]:
        assert values == (SHOP.database,)
        return self.decimals

    def rollback(self) -> None:
        """Do nothing."""

    def differences(self, **more: Any) -> list[Difference]:
        return source_differences(cast(Connection, self), replace(SHOP, **more))


@pytest.fixture
def database() -> Database:
    return Database()


def test_a_source_as_its_definition_says_has_no_differences(database: Database) -> None:
    database.tables["more"] = {"id": "int"}
    assert database.differences() == []


def test_a_table_that_is_gone_a_column_more_or_less_and_another_type_are_named(database: Database) -> None:
    del database.tables["customers"]
    orders, details = database.tables["orders"], database.tables["order_details"]
    orders["colour"], orders["store_id"] = "int", "bigint"
    del details["quantity"]
    found = [(each.table, each.is_wrong) for each in database.differences()]
    assert found == [("orders", False), ("orders", False), ("order_details", True), ("customers", True)]
    text = "\n".join(map(str, database.differences()))
    for part in (
        "store_id has type bigint",
        "lacks the columns colour",
        "lacks the columns quantity",
        "does not exist",
    ):
        assert part in text


def test_a_decimal_with_other_digits_is_named(database: Database) -> None:
    price = Column(name="price", type=LogicalType.DECIMAL, precision=10, scale=2)
    orders = SHOP.table("orders")
    tables = (replace(orders, columns=(*orders.columns, price)),)
    database.kinds["decimal"], database.tables["orders"]["price"] = {"decimal"}, "decimal"
    database.decimals = [("orders", "price", 10, 2)]
    assert database.differences(tables=tables) == []
    database.decimals = [("orders", "price", 12, 4)]
    [found] = database.differences(tables=tables)
    assert "decimal(12,4)" in found.text


def test_a_column_that_is_left_out_on_purpose_is_no_difference(database: Database) -> None:
    database.tables["orders"]["colour"] = "int"
    assert database.differences(connector={"column.exclude.list": "project_db.orders.colour"}) == []


def test_a_difference_is_said_once_and_its_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (Difference(table="orders", text=text, is_wrong=False) for text in ("one", "other"))
    answers: list[list[Difference] | StackError] = [[one], [one], StackError("away"), [one, other], [], []]
    now, said = [0.0], list[str]()

    def compared(*_: object) -> list[Difference]:
        answer = answers.pop(0)
        if isinstance(answer, StackError):
            raise answer
        return answer

    monkeypatch.setattr(source_columns, "compared", compared)
    comparison = SourceComparison(SHOP, cast(SourceSettings, None), said.append, clock=lambda: now[0])
    found = []
    while answers:
        comparison.look()
        comparison.look()  # too early
        found.append(len(comparison.found))
        now[0] += COMPARE_S
    assert found == [1, 1, 1, 2, 0, 0]
    assert said == [
        "WARNING: table orders: one",
        "WARNING: table orders: other",
        "the source has the tables and columns of the definition again",
    ]


def test_the_differences_of_each_table_are_counted_for_prometheus() -> None:
    found = [Difference(table=table, text="", is_wrong=True) for table in ("orders", "orders", "customers")]
    collector = WatchCollector(NAME, World().watch, lambda: None, differences=lambda: found)
    samples = [sample for family in collector.collect() for sample in family.samples]
    counts = {each.labels["table"]: each.value for each in samples if each.name == "millrace_source_differences"}
    assert counts == {"customers": 1, "orders": 2}
