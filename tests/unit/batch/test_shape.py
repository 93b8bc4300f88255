"""Goal: what a changed definition means for a Silver table is named as it is.

Method: a table's schema as Silver would have it, and definitions that differ from it; no Spark.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from msgspec.structs import replace
from pyspark.sql import types as T  # noqa: N812

from batch.delta.table import LakeTable
from batch.silver.rules import spark_type
from batch.silver.shape import fingerprint, shape_change
from batch.silver.versions import META
from config.dataset import load_definition
from config.definition import Column, LogicalType, Table

TYPES: Final = {"string": T.StringType(), "int": T.IntegerType(), "bigint": T.LongType()}
TABLE = load_definition("project_db").table("order_details")
OTHER: Final = "the definition's key, order of columns or history has changed"
MORE = Column(name="colour", type=LogicalType.STRING, nullable=True)


def silver_of(table: Table) -> LakeTable:
    """The Silver table of a definition."""
    fields = [T.StructField(each.name, TYPES[spark_type(each)]) for each in table.columns]
    schema = T.StructType([*fields, *(T.StructField(name, T.StringType()) for name in META)])
    return cast(LakeTable, SimpleNamespace(at=lambda: SimpleNamespace(schema=schema)))


def change_of(old: Table, new: Table) -> Any:
    return shape_change(new, silver_of(old), {"definition": fingerprint(old)})


def with_columns(*columns: Column) -> Table:
    return replace(TABLE, columns=columns)


def typed(type_: LogicalType) -> Table:
    return with_columns(*(replace(each, type=type_) if each.name == "quantity" else each for each in TABLE.columns))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (TABLE, TABLE, ""),
        (TABLE, with_columns(*TABLE.columns, MORE), "the definition has got columns: colour"),
        (with_columns(*TABLE.columns, MORE), TABLE, "the definition has lost columns: colour"),
        (with_columns(MORE, *TABLE.columns), typed(LogicalType.BIGINT), "the definition has lost columns: colour"),
        (TABLE, replace(TABLE, key=TABLE.key[:1]), f"{OTHER}, or an earlier run ended while it changed types"),
        (TABLE, replace(typed(LogicalType.BIGINT), key=TABLE.key[:1]), OTHER),
    ],
)
def test_the_note_says_what_has_changed(old: Table, new: Table, reason: str) -> None:
    assert change_of(old, new).reason == reason
