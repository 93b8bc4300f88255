"""Goal: which columns of a source Bronze keeps in `_rest`, and which stay out on purpose.

Method: definitions with a connector's `column.exclude.list`; no Spark.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from batch.bronze.jdbc_rows import columns_to_keep
from batch.bronze.rest import with_kept
from config.dataset import load_definition
from config.definition import Definition, LogicalType
from config.engines import engine_of
from config.left_out import is_left_out

SHOP, TRADE = load_definition("project_db"), load_definition("shop")
ORDERS = SHOP.table("orders")


def without(definition: Definition, *names: str, **more: Any) -> Definition:
    """A definition whose connector leaves out columns."""
    return msgspec.structs.replace(definition, connector={"column.exclude.list": ",".join(names)}, **more)


@pytest.mark.parametrize(
    ("names", "is_out"),
    [
        ((), False),
        (("project_db.orders.picture",), True),
        (("project_db.customers.x", " Project_DB.orders.PIC.* "), True),
        (("project_db.orders.pic",), False),
        (("orders.picture",), False),
    ],
)
def test_columns_are_left_out_by_whole_names(names: tuple[str, ...], is_out: bool) -> None:
    assert is_left_out(ORDERS, "picture", without(SHOP, *names)) is is_out


def test_names_of_postgresql_begin_with_the_schema() -> None:
    for schema, name in ((TRADE.schema, TRADE.schema), ("trade", "trade"), (None, "public")):
        definition = without(TRADE, f"{name}.orders.picture", schema=schema)
        assert is_left_out(definition.table("orders"), "picture", definition)


def test_columns_read_from_the_database_are_those_that_the_lake_can_read() -> None:
    others = {"fee": "decimal", "note": "varchar", "photo": "blob", "n": "int", "secret": "varchar", "a b": "int"}
    definition = without(SHOP, "project_db.orders.secret")
    found = columns_to_keep(engine_of(SHOP), ORDERS, others, definition)
    assert {column.name: column.type for column in found} == {
        "fee": LogicalType.DECIMAL,
        "note": LogicalType.STRING,
        "n": LogicalType.INTEGER,
    }


def test_names_that_were_kept_once_stay_in_the_progress() -> None:
    assert with_kept({"topic/0": 1}, []) == {"topic/0": 1}
    assert with_kept({"topic/0": 1, "rest": ["b"]}, ["a", "b"]) == {"topic/0": 1, "rest": ["a", "b"]}
