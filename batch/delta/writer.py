"""Which engine writes a table: a property of the table, set when it is made and changed by `maintain` only.

`delta-rs` means that appends and merges of rows that the driver holds are committed by delta-rs, in this process. What
follows from a look at the rows or the table is Spark's on every table: rows that the driver does not hold, whole
replacements, rows with other columns than the table, and everything that `maintain` and `erase` do.
See docs/decisions/0001-one-writer-per-table.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pyspark.sql.types import (
    BinaryType,
    BooleanType,
    ByteType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    StructType,
    TimestampType,
)

from batch.delta import sizes

Writer = Literal["delta-rs", "spark"]

WRITER: Final = "millrace.writer"
"""The table property. Tables that were made before it existed have none until `maintain` records it."""

DELTA_RS: Final = "delta-rs"
SPARK: Final = "spark"
SPARK_ONLY: Final = "spark-only"
"""Set by an operator: delta-rs neither writes nor reads the table, and `maintain` leaves the property alone."""

_TYPES: Final = (
    BinaryType,
    BooleanType,
    ByteType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    TimestampType,
)
_PROPERTIES: Final = frozenset({"delta.enableChangeDataFeed", "delta.dataSkippingStatsColumns"})


def suits_delta_rs(schema: StructType, properties: Mapping[str, str]) -> bool:
    """Whether delta-rs can make a table with these columns and properties, and keep both up."""
    asked = {name for name in properties if name.startswith("delta.")}
    return all(isinstance(field.dataType, _TYPES) for field in schema) and asked <= _PROPERTIES


def writer_of(recorded: str | None, *, is_kept_up: bool, table_bytes: int) -> Writer:
    """The engine that writes a table now.

    Args:
        recorded: the property; None for a table that has none yet, which is decided by its size.
        is_kept_up: whether delta-rs reaches the table and keeps up all of its features; it never writes others.
    """
    if not is_kept_up or recorded not in (None, DELTA_RS):
        return SPARK
    return DELTA_RS if recorded == DELTA_RS or sizes.fits_delta_rs(table_bytes) else SPARK


def next_writer(recorded: str | None, *, is_kept_up: bool, table_bytes: int) -> str:
    """The property that `maintain` records: Spark above the size bound, delta-rs again only far below it."""
    if recorded not in (None, DELTA_RS, SPARK):
        return recorded
    if not is_kept_up:
        return SPARK
    fits = sizes.fits_delta_rs_again if recorded == SPARK else sizes.fits_delta_rs
    return DELTA_RS if fits(table_bytes) else SPARK
