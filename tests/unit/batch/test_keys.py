"""Goal: a key on the command line becomes the canonical key of one row; an invalid key is an error that names it.

Method: the parser alone; no server.
"""

from __future__ import annotations

import argparse

import msgspec
import pytest

from batch.commands.backfill import chosen
from batch.console.keys import parsed_key, parsed_keys
from batch.errors import BatchError
from config.dataset import load_definition
from config.definition import Column, LogicalType, Table
from config.parsing import absolute_time as time

SHOP = load_definition("project_db")
CUSTOMERS, LINES, ORDERS = (SHOP.table(name) for name in ("customers", "order_details", "orders"))


def keyed(*columns: Column) -> Table:
    """A table with these columns as its key."""
    return Table(name="things", key=tuple(column.name for column in columns), columns=columns)


def test_a_key_of_one_column_is_its_value() -> None:
    assert parsed_key(ORDERS, "order=7,x") == ("order=7,x",)
    assert parsed_key(CUSTOMERS, " +007") == ("7",)


def test_a_key_of_several_columns_names_them_in_any_order() -> None:
    assert parsed_key(LINES, "product_id=5,order_id=a,b=c") == ("a,b=c", "5")


def test_a_key_that_is_named_twice_counts_once() -> None:
    assert parsed_keys(CUSTOMERS, ["7", "07", "8"]) == [("7",), ("8",)]


@pytest.mark.parametrize(
    ("type_", "text", "canonical"),
    [
        (LogicalType.DECIMAL, "1.5", "1.50"),
        (LogicalType.BOOLEAN, "True", "1"),
        (LogicalType.DATE, "2025-01-31", "2025-01-31"),
        (LogicalType.TIMESTAMP, "2025-01-31T12:00:00+02:00", "2025-01-31 10:00:00.000000"),
    ],
)
def test_values_become_canonical(type_: LogicalType, text: str, canonical: str) -> None:
    assert parsed_key(keyed(Column(name="k", type=type_, scale=2)), text) == (canonical,)


@pytest.mark.parametrize(
    ("table", "text", "named"),
    [
        (CUSTOMERS, "seven", ["'seven'", "id", "integer"]),
        (CUSTOMERS, "", ["''", "id"]),
        (ORDERS, " ", ["' '", "id"]),
        (LINES, "a", ["'a'", "--key order_id=…,product_id=…"]),
        (LINES, "order_id=a", ["'order_id=a'", "--key order_id=…,product_id=…"]),
        (LINES, "order_id=a,product_id=x", ["'x'", "product_id"]),
        (LINES, "order_id=a,order_id=b", ["'order_id=a,order_id=b'"]),
        (keyed(Column(name="k", type=LogicalType.DATE)), "31.1.2025", ["'31.1.2025'", "k", "date"]),
        (keyed(Column(name="k", type=LogicalType.DOUBLE)), "1.5", ["'1.5'", "k", "double"]),
    ],
)
def test_an_invalid_key_is_named_with_its_column_and_type(table: Table, text: str, named: list[str]) -> None:
    with pytest.raises(BatchError) as raised:
        parsed_key(table, text)
    assert raised.value.table == table.name
    assert [part for part in named if part not in str(raised.value)] == []


@pytest.mark.parametrize(
    ("table", "arguments", "named_table", "options"),
    [
        (ORDERS, {}, "", "--since, --until .*--key"),
        (ORDERS, {"key": ["a"], "since": time("2025-01-01")}, "", "--since, --until .*--key"),
        (ORDERS, {"since": time("2025-01-02"), "until": time("2025-01-02")}, "", "--since .*--until"),
        (LINES, {"since": time("2025-01-02")}, "order_details", "--key"),
        (msgspec.structs.replace(CUSTOMERS, cursor="id"), {"until": time("2025-01-02")}, "customers", "--key"),
    ],
)
def test_an_impossible_choice_of_rows_is_an_error_that_names_the_options(
    table: Table, arguments: dict[str, object], named_table: str, options: str
) -> None:
    given = argparse.Namespace(**{"key": [], "since": None, "until": None, **arguments})
    with pytest.raises(BatchError, match=options) as raised:
        chosen(table, given)
    assert raised.value.table == named_table
