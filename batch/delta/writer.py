"""Chooses the engine that writes a table: a table property, set when the table is loaded and changed by `maintain`.

`delta-rs` means that delta-rs commits appends and merges of rows held by the driver, in-process instead of by Spark. On
every table, Spark writes everything else: rows that the driver does not hold, replacements of the whole table, rows
whose columns differ from the table's, and everything that `maintain` and `erase` do.
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
"""The table property with the writer. Tables older than this property lack it until `maintain` sets it."""

DELTA_RS: Final = "delta-rs"
SPARK: Final = "spark"
SPARK_ONLY: Final = "spark-only"
"""Set by an operator: delta-rs neither writes nor reads the table, and `maintain` does not change the property."""

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
    """Whether delta-rs can create and maintain a table with these columns and properties."""
    asked = {name for name in properties if name.startswith("delta.")}
    return all(isinstance(field.dataType, _TYPES) for field in schema) and asked <= _PROPERTIES


def writer_of(recorded: str | None, *, is_kept_up: bool, table_bytes: int) -> Writer:
    """Return the engine that writes a table now.

    Args:
        recorded: value of the table property; if it is None, the size of the table decides.
        is_kept_up: whether delta-rs reaches the table and maintains all its features; otherwise Spark writes it.
        table_bytes: total bytes of the table's data files.
    """
    if not is_kept_up or recorded not in (None, DELTA_RS):
        return SPARK
    return DELTA_RS if recorded == DELTA_RS or sizes.fits_delta_rs(table_bytes) else SPARK


def next_writer(recorded: str | None, *, is_kept_up: bool, table_bytes: int) -> str:
    """Return the value of the property that `maintain` sets; see `writer_of` for the arguments.

    A table above the size limit changes to Spark, and changes back to delta-rs only far below that limit.
    """
    if recorded not in (None, DELTA_RS, SPARK):
        return recorded
    if not is_kept_up:
        return SPARK
    fits = sizes.fits_delta_rs_again if recorded == SPARK else sizes.fits_delta_rs
    return DELTA_RS if fits(table_bytes) else SPARK
