"""Helpers for tests of Bronze: create run contexts, and write change events to an archive in a folder."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from batch.context import RunContext
from batch.storage.paths import Lake
from config.dataset import load_definition
from config.definition import Definition, Table
from config.engines.base import SourceSettings
from config.settings import ROW_MAX_BYTES, LakeSettings
from tests.support.lake.delta_rows import delta_rows

DEFINITION = load_definition("project_db")
STARTED_AT = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)

_SCHEMA = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", pa.timestamp("ms", tz="UTC")),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("headers", pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))),
    ]
)
_runs = itertools.count(1)


def run_context(
    spark: SparkSession,
    folder: Path,
    *,
    definition: Definition = DEFINITION,
    database: SourceSettings | None = None,
    row_max_bytes: int = ROW_MAX_BYTES,
    **more: Any,
) -> RunContext:
    """Create the context of a new run on a lake in a local folder; `more` sets further fields."""
    root = f"file://{folder}"
    settings = {"WINDOW_SAFETY_S": "0", "WINDOW_OVERLAP_S": "60", "LAKE_ROW_MAX_BYTES": str(row_max_bytes)}
    return RunContext(
        spark=spark,
        lake=Lake(bronze=f"{root}/bronze", silver=f"{root}/silver", gold=f"{root}/gold"),
        definition=definition,
        run_id=f"run-{next(_runs):04d}",
        settings=LakeSettings.read(settings),
        database=database,
        **{"started_at": STARTED_AT, **more},
    )


def fed_by_jdbc(name: str) -> tuple[Definition, Table]:
    """Return the default dataset with the feed of one table set to `jdbc`, and this table."""
    tables = tuple(
        msgspec.structs.replace(table, feed="jdbc") if table.name == name else table for table in DEFINITION.tables
    )
    definition = msgspec.structs.replace(DEFINITION, tables=tables)
    return definition, definition.table(name)


def envelope(
    op: str, values: dict[str, Any] | None, /, *, pos: int, file: str = "binlog.000002", **source: Any
) -> bytes:
    """Build the value of a change event; `values` is the row after the change, or before it for a delete."""
    place = {"file": file, "pos": pos, "row": 0, "ts_ms": 1_700_000_000_123, **source}
    body = {"op": op, "source": place, "before": values if op == "d" else None, "after": None if op == "d" else values}
    return json.dumps(body).encode()


def wrapped(value: bytes) -> bytes:
    """Wrap a change event with a schema, as the JSON converter does by default."""
    return b'{"schema": {"type": "struct"}, "payload": ' + value + b"}"


class Archive:
    """The archive of one topic in a local folder, in the layout that `streams.archive` writes."""

    def __init__(self, folder: Path, topic: str) -> None:
        self._folder = folder / "bronze" / "changes" / topic
        self._topic = topic
        self._next: dict[int, int] = {}

    def put(self, *values: bytes | None, partition: int = 0, gap: int = 0) -> Path:
        """Write an archive object with one record per value, after a gap of `gap` offsets without records."""
        start = self._next.get(partition, 0)
        first = start + gap
        rows: list[dict[str, Any]] = [
            {
                "topic": self._topic,
                "partition": partition,
                "offset": first + number,
                "timestamp": None,
                "key": b"key",
                "value": value,
                "headers": [],
            }
            for number, value in enumerate(values)
        ]
        path = self._folder / f"{partition:05d}" / f"{start:020d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), path, compression="zstd")
        self._next[partition] = first + len(values)
        return path


def content(context: RunContext, table: str) -> list[dict[str, Any]]:
    """Return all rows of a Bronze table, sorted by the first column and `_sequence`."""
    rows = delta_rows(context.lake.table("bronze", table))
    return sorted(rows, key=lambda row: (next(iter(row.values())), row["_sequence"]))


def picked(rows: Sequence[Mapping[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """Return the named columns of each row as a tuple."""
    return [tuple(row[name] for name in names) for row in rows]
