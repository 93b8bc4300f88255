"""Goal: a key on the command line is one row of its table, written as the source writes it, or a named mistake.

Method: the parser alone; no server.
"""

from __future__ import annotations

import argparse

import msgspec
import pytest

from batch.commands.backfill import chosen
from batch.console.arguments import moment
from batch.console.keys import parsed_key, parsed_keys
from batch.errors import BatchError
from config.dataset import load_definition
from config.definition import Column, LogicalType, Table

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
    ("table", "text", "told"),
    [
        (CUSTOMERS, "seven", "customers: 'seven' is no value of id, a column of type integer"),
        (CUSTOMERS, "", "is no value of id"),
        (ORDERS, " ", "is no value of id"),
        (LINES, "a", "it is written as --key order_id=…,product_id=…"),
        (LINES, "order_id=a", "it is written as --key order_id=…,product_id=…"),
        (LINES, "order_id=a,product_id=x", "'x' is no value of product_id"),
        (LINES, "order_id=a,order_id=b", "is no key of it"),
        (keyed(Column(name="k", type=LogicalType.DATE)), "31.1.2025", "column of type date"),
        (keyed(Column(name="k", type=LogicalType.DOUBLE)), "1.5", "column of type double"),
    ],
)
def test_what_is_no_key_is_named(table: Table, text: str, told: str) -> None:
    with pytest.raises(BatchError) as refused:
        parsed_key(table, text)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("table", "arguments", "told"),
    [
        (ORDERS, {}, "say which rows"),
        (ORDERS, {"key": ["a"], "since": moment("2025-01-01")}, "say which rows"),
        (ORDERS, {"since": moment("2025-01-02"), "until": moment("2025-01-02")}, "--since has to be before --until"),
        (LINES, {"since": moment("2025-01-02")}, "order_details: has no column of times .* with --key"),
        (msgspec.structs.replace(CUSTOMERS, cursor="id"), {"until": moment("2025-01-02")}, "has no column of times"),
    ],
)
def test_a_choice_that_can_not_be_made_is_refused(table: Table, arguments: dict[str, object], told: str) -> None:
    given = argparse.Namespace(**{"key": [], "since": None, "until": None, **arguments})
    with pytest.raises(BatchError, match=told):
        chosen(table, given)
