"""Goal: a table keeps its writer, and changes it for its size only where `maintain` asks, not with every run of it.

Method: the decisions are plain functions of what a table says of itself.
"""

from __future__ import annotations

import pytest
from pyspark.sql.types import ArrayType, DecimalType, IntegerType, NullType, StringType, StructField, StructType

from batch.delta.sizes import DELTA_RS_RETURN_BYTES_MAX, DELTA_RS_TABLE_BYTES_MAX
from batch.delta.writer import DELTA_RS, SPARK, SPARK_ONLY, next_writer, suits_delta_rs, writer_of

SMALL, BETWEEN, LARGE = DELTA_RS_RETURN_BYTES_MAX, DELTA_RS_TABLE_BYTES_MAX, DELTA_RS_TABLE_BYTES_MAX + 1


@pytest.mark.parametrize(
    ("recorded", "table_bytes", "writer", "after_maintain"),
    [
        (None, BETWEEN, DELTA_RS, DELTA_RS),
        (None, LARGE, SPARK, SPARK),
        (DELTA_RS, SMALL, DELTA_RS, DELTA_RS),
        (DELTA_RS, BETWEEN, DELTA_RS, DELTA_RS),
        (DELTA_RS, LARGE, DELTA_RS, SPARK),
        (SPARK, LARGE, SPARK, SPARK),
        (SPARK, BETWEEN, SPARK, SPARK),
        (SPARK, SMALL, SPARK, DELTA_RS),
        (SPARK_ONLY, SMALL, SPARK, SPARK_ONLY),
    ],
)
def test_only_maintain_changes_the_writer_for_the_size(
    recorded: str | None, table_bytes: int, writer: str, after_maintain: str
) -> None:
    assert writer_of(recorded, is_kept_up=True, table_bytes=table_bytes) == writer
    assert next_writer(recorded, is_kept_up=True, table_bytes=table_bytes) == after_maintain


@pytest.mark.parametrize("recorded", [None, DELTA_RS, SPARK])
def test_a_table_with_features_that_delta_rs_does_not_keep_up_is_spark_s(recorded: str | None) -> None:
    assert writer_of(recorded, is_kept_up=False, table_bytes=0) == SPARK
    assert next_writer(recorded, is_kept_up=False, table_bytes=0) == SPARK


@pytest.mark.parametrize(
    ("kind", "properties", "suits"),
    [
        (DecimalType(10, 2), {"delta.enableChangeDataFeed": "true", "millrace.feed": "changes"}, True),
        (IntegerType(), {"delta.enableDeletionVectors": "true"}, False),
        (ArrayType(IntegerType()), {}, False),
        (NullType(), {}, False),
    ],
)
def test_delta_rs_makes_tables_of_plain_columns_and_known_properties(
    kind: IntegerType, properties: dict[str, str], suits: bool
) -> None:
    schema = StructType([StructField("id", StringType()), StructField("value", kind)])
    assert suits_delta_rs(schema, properties) == suits
