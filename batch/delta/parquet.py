"""Reads local Parquet files without Spark."""

from __future__ import annotations

import pyarrow.parquet as pq


def last_value(path: str, column: str) -> object:
    """Return the value of a column in the last row of a local Parquet file."""
    return pq.read_table(path, columns=[column], partitioning=None)[column][-1].as_py()
