"""Read rows of a Delta table with delta-rs, without Spark and without the code under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError


def delta_table(
    uri: str,
    columns: Sequence[str] = (),
    *,
    where: str | None = None,
    version: int | None = None,
    storage: Mapping[str, str] | None = None,
) -> pa.Table:
    """Read a version of a Delta table, by default the newest.

    Args:
        uri: folder of the table, as `file://…` or `s3://…`.
        columns: names of the columns to read; empty for all.
        where: SQL condition in DataFusion's dialect that selects rows.
        version: version to read; None for the newest.
        storage: delta-rs options for the object storage.

    Raises:
        TableNotFoundError: there is no Delta table at `uri`.
    """
    table = DeltaTable(uri.removeprefix("file://"), version=version, storage_options=dict(storage or {}))
    names = [field.name for field in table.schema().fields]
    chosen = [*columns] or names
    found = pa.RecordBatchReader.from_stream(table.scan(columns=chosen, predicate=where)).read_all()
    return found.select(chosen)


def delta_rows(uri: str, columns: Sequence[str] = (), *, where: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of a Delta table's newest version; times are naive datetimes in UTC."""
    return python_rows(delta_table(uri, columns, where=where))


def delta_rows_if_any(uri: str, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the rows of a Delta table's newest version; an empty list if there is no table."""
    try:
        return delta_rows(uri, columns)
    except TableNotFoundError:
        return []


def python_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Convert an Arrow table to dictionaries of Python values; times are naive datetimes in UTC."""
    return [{name: _naive(value) for name, value in row.items()} for row in table.to_pylist()]


def _naive(value: Any) -> Any:
    is_zoned = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC).replace(tzinfo=None) if is_zoned else value
