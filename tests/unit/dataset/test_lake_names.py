"""Goal: a table keeps its names in the source, has names in lower snake case in the lake, and no two names become one.

Method: names by hand, and a small definition whose names have capitals.
"""

from __future__ import annotations

import msgspec
import pytest

from batch.reconcile.pending_changes import images
from config.contradictions import faults
from config.dataset import known_datasets, load_definition
from config.definition import Column, Definition, LogicalType, NotNull, Range, Reference, Table, Unique
from config.engines import ENGINES
from config.lake_names import in_lake, lake_name

ITEMS = Table(
    name="OrderItems",
    key=("OrderID",),
    topic_key="OrderID",
    cursor="UpdatedAt",
    history=4,
    columns=(
        Column(name="OrderID", type=LogicalType.INTEGER),
        Column(name="Quantity", type=LogicalType.INTEGER, nullable=True),
        Column(name="UpdatedAt", type=LogicalType.TIMESTAMP),
    ),
    rules=(
        NotNull(column="Quantity", action="warn"),
        Range(column="Quantity", min=1, action="warn"),
        Unique(columns=("OrderID", "Quantity"), action="warn"),
        Reference(column="Quantity", table="OrderItems", action="warn"),
    ),
)
DEFINITION = Definition(folder="", name="mine", engine="mysql", database="mine", lake_prefix="mine", tables=(ITEMS,))


@pytest.mark.parametrize(
    ("source", "lake"),
    [
        ("id", "id"),
        ("order_items", "order_items"),
        ("OrderItems", "order_items"),
        ("PhoneNumber", "phone_number"),
        ("OrderID", "order_id"),
        ("HTTPStatus", "http_status"),
        ("Line2Price", "line2_price"),
        ("Order_ID", "order_id"),
        ("URL", "url"),
    ],
)
def test_a_name_is_written_in_lower_snake_case(source: str, lake: str) -> None:
    assert lake_name(source) == lake
    assert lake_name(lake) == lake


def test_every_name_of_a_table_is_renamed_and_its_source_names_are_kept() -> None:
    (items,) = in_lake(DEFINITION).tables
    assert (items.name, items.source_name, items.history_name) == ("order_items", "OrderItems", "order_items_history")
    assert items.lake_columns == {"OrderID": "order_id", "Quantity": "quantity", "UpdatedAt": "updated_at"}
    assert (items.key, items.topic_key, items.cursor) == (("order_id",), "order_id", "updated_at")
    assert items.rules == (
        NotNull(column="quantity", action="warn"),
        Range(column="quantity", min=1, action="warn"),
        Unique(columns=("order_id", "quantity"), action="warn"),
        Reference(column="quantity", table="order_items", action="warn"),
    )


def test_a_definition_without_capitals_stays_as_it_is() -> None:
    for name in ("project_db", "shop"):
        definition = load_definition(name)
        assert in_lake(definition) is definition


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_the_database_is_asked_by_the_names_of_the_source(engine: str) -> None:
    column = in_lake(DEFINITION).tables[0].column("order_id")
    assert ENGINES[engine].quoted("OrderID") in ENGINES[engine].value(column)


def test_a_pending_change_is_read_with_the_names_of_the_lake() -> None:
    (items,) = in_lake(DEFINITION).tables
    assert images(b'{"op": "c", "after": {"OrderID": 1, "Other": 2}}', items) == [{"order_id": 1, "Other": 2}]


def test_names_that_would_become_one_are_refused_with_both() -> None:
    other = msgspec.structs.replace(ITEMS, name="order_items")
    doubled = msgspec.structs.replace(
        ITEMS, columns=(*ITEMS.columns, Column(name="order_id", type=LogicalType.INTEGER))
    )
    tables = faults(msgspec.structs.replace(DEFINITION, tables=(ITEMS, other)))
    columns = faults(msgspec.structs.replace(DEFINITION, tables=(doubled,)))
    assert [fault for fault in tables if "'OrderItems' and 'order_items'" in fault]
    assert [
        fault for fault in columns if fault.startswith("tables[0].columns: ") and "'OrderID' and 'order_id'" in fault
    ]


def test_no_shipped_dataset_has_names_that_become_one() -> None:
    assert [fault for name in known_datasets() for fault in faults(load_definition(name))] == []
