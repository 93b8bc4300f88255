"""Goal: what a definition says of the warehouse and of the live figures is obeyed, or refused with its place.

Method: take the shipped definition of `shop`, break one thing, read the message.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.dataset import DEFINITION_FILE, SHIPPED, DefinitionError, load_definition_file
from config.definition import Column, LogicalType, Table, WarehouseTable
from config.warehouse import NOT_KEPT
from streams.model.warehouse import warehouse_tables

CUSTOMERS, ORDERS, ITEMS = 0, 2, 3
Change = Callable[[dict[str, Any]], object]


def set_in(*path: Any) -> Change:
    """Set the value at a path; the path ends with the value."""
    *places, name, value = path

    def change(document: dict[str, Any]) -> None:
        part: Any = document
        for place in places:
            part = part[place]
        part[name] = value

    return change


WRONG: dict[str, tuple[Change, str]] = {
    "a table twice": (
        set_in("tables", ORDERS, "warehouse", "table", "dim_customers"),
        "tables[0].warehouse.table: 'dim_customers' is defined twice",
    ),
    "a reserved table": (
        set_in("tables", ORDERS, "warehouse", "table", "dlq_events"),
        "tables[2].warehouse.table: 'dlq_events' is reserved",
    ),
    "a key of too few columns": (
        set_in("tables", ITEMS, "warehouse", "key", ["order_id"]),
        "tables[3].warehouse.key: must name 2 columns, one for each of the key (order_id, product_id)",
    ),
    "a key with the name of another column": (
        set_in("tables", CUSTOMERS, "warehouse", "key", ["email"]),
        "tables[0].warehouse.key: column 'email' would be there twice",
    ),
    "a key with the name of a column of the warehouse": (
        set_in("tables", CUSTOMERS, "warehouse", "key", ["is_deleted"]),
        "tables[0].warehouse.key: column 'is_deleted' would be there twice",
    ),
    "a kind that is none": (
        set_in("tables", CUSTOMERS, "warehouse", "kind", "cube"),
        "tables[0].warehouse.kind: Invalid enum value 'cube'",
    ),
    "a key of several columns without a topic_key": (
        set_in("tables", ITEMS, "topic_key", None),
        "tables[3].warehouse.table: the source's key has several columns, so the table needs a topic_key",
    ),
    "a column of a type that the warehouse does not keep": (
        set_in("tables", CUSTOMERS, "columns", 1, "type", "binary"),
        "tables[0].warehouse.table: column 'name' is of type binary, which the warehouse does not keep",
    ),
    "figures of a table that is none": (
        set_in("metrics", "orders", "table", "sales"),
        "metrics.orders.table: table 'sales' does not exist",
    ),
    "figures of a column that is none": (
        set_in("metrics", "customers", "country", "land"),
        "metrics.customers.country: column 'land' does not exist",
    ),
    "revenue that is no number": (
        set_in("metrics", "orders", "total", "status"),
        "metrics.orders.total: column 'status' is of type string",
    ),
    "an alert without its column": (
        set_in("metrics", "orders", "total", None),
        "metrics.alerts.high_value: needs metrics.orders.total",
    ),
    "an alert without its table": (set_in("metrics", "items", None), "metrics.alerts.bulk: needs metrics.items"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_contradiction_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    change, expected = WRONG[name]
    document = yaml.safe_load((SHIPPED / "shop" / DEFINITION_FILE).read_text())
    change(document)
    path = tmp_path / DEFINITION_FILE
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(DefinitionError) as caught:
        load_definition_file(path)
    assert expected in str(caught.value)


def test_the_warehouse_has_columns_of_all_types_but_those_that_are_refused() -> None:
    for kind in LogicalType:
        column = Column(name="of_this_type", type=kind)
        table = Table(
            name="t", key=("of_this_type",), columns=(column,), warehouse=WarehouseTable(table="t", kind="fact")
        )
        if kind not in NOT_KEPT:
            [target] = warehouse_tables([table])
            assert target.columns
            assert target.struct()
