"""Chooses which engine writes a table; a table property records the choice, which `maintain` may change later.

The value `delta-rs` means that delta-rs commits appends and merges of rows held by the driver, in-process instead of
through Spark. In every table, Spark makes all other writes: rows that the driver does not hold, replacements of the
whole table, rows whose columns differ from the table's, and all writes of `maintain` and `erase`.
See docs/decisions/0001-one-writer-per-table.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pyspark.sql import types
from pyspark.sql.types import StructType

from batch.delta import sizes

Writer = Literal["delta-rs", "spark"]

WRITER: Final = "millrace.writer"
"""The table property that names the table's writer. In tables older than this property, `maintain` sets it."""

DELTA_RS: Final = "delta-rs"
SPARK: Final = "spark"
SPARK_ONLY: Final = "spark-only"
"""The value that an operator sets to keep delta-rs from reading or writing a table; `maintain` does not change it."""

_TYPES: Final = (
    types.BinaryType,
    types.BooleanType,
    types.ByteType,
    types.DateType,
    types.DecimalType,
    types.DoubleType,
    types.FloatType,
    types.IntegerType,
    types.LongType,
    types.ShortType,
    types.StringType,
    types.TimestampType,
)
_PROPERTIES: Final = frozenset({"delta.enableChangeDataFeed", "delta.dataSkippingStatsColumns"})


def suits_delta_rs(schema: StructType, properties: Mapping[str, str]) -> bool:
    """Whether delta-rs can create and write a table with these columns and properties."""
    asked = {name for name in properties if name.startswith("delta.")}
    return all(isinstance(field.dataType, _TYPES) for field in schema) and asked <= _PROPERTIES


def writer_of(recorded: str | None, *, is_kept_up: bool, table_bytes: int) -> Writer:
    """Return the engine that currently writes a table.

    Args:
        recorded: value of the table property `WRITER`; if it is None, the size of the table decides.
        is_kept_up: whether delta-rs can reach the table and supports all its features; otherwise, Spark writes it.
        table_bytes: total bytes of the table's data files.
    """
    if not is_kept_up or recorded not in (None, DELTA_RS):
        return SPARK
    return DELTA_RS if recorded == DELTA_RS or sizes.fits_delta_rs(table_bytes) else SPARK


def next_writer(recorded: str | None, *, is_kept_up: bool, table_bytes: int) -> str:
    """Return the value to record in the table property `WRITER`; see `writer_of` for the arguments.

    The writer changes to Spark when the table exceeds a size limit, and back to delta-rs only far below that limit.
    """
    if recorded not in (None, DELTA_RS, SPARK):
        return recorded
    if not is_kept_up:
        return SPARK
    fits = sizes.fits_delta_rs_again if recorded == SPARK else sizes.fits_delta_rs
    return DELTA_RS if fits(table_bytes) else SPARK
