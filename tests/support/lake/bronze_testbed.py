"""Start a run, build envelopes as the connector writes them, and write archive objects, for tests of Bronze."""

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
from config.settings import DatabaseSettings, LakeSettings
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
    database: DatabaseSettings | None = None,
    **more: Any,
) -> RunContext:
    """A new run over a lake in a folder."""
    root = f"file://{folder}"
    settings = {"WINDOW_SAFETY_S": "0", "WINDOW_OVERLAP_S": "60", "SOURCE_EPOCH": "3"}
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
    """The dataset with one table that is read by JDBC, and that table."""
    tables = tuple(
        msgspec.structs.replace(table, feed="jdbc") if table.name == name else table for table in DEFINITION.tables
    )
    definition = msgspec.structs.replace(DEFINITION, tables=tables)
    return definition, definition.table(name)


def envelope(
    op: str, values: dict[str, Any] | None, /, *, pos: int, file: str = "binlog.000002", **source: Any
) -> bytes:
    """A change event; of a delete, `values` are those from before."""
    place = {"file": file, "pos": pos, "row": 0, "ts_ms": 1_700_000_000_123, **source}
    body = {"op": op, "source": place, "before": values if op == "d" else None, "after": None if op == "d" else values}
    return json.dumps(body).encode()


def wrapped(value: bytes) -> bytes:
    """The same event from a converter that sends the schema along."""
    return b'{"schema": {"type": "struct"}, "payload": ' + value + b"}"


class Archive:
    """A topic's archive in a folder, in the layout that `streams.archive` writes."""

    def __init__(self, folder: Path, topic: str) -> None:
        self._folder = folder / "bronze" / "changes" / topic
        self._topic = topic
        self._next: dict[int, int] = {}

    def put(self, *values: bytes | None, partition: int = 0, gap: int = 0) -> Path:
        """Write one object with these records, after `gap` offsets that hold none."""
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
    """All rows of a Bronze table, by key (its first column) and sequence."""
    rows = delta_rows(context.lake.table("bronze", table))
    return sorted(rows, key=lambda row: (next(iter(row.values())), row["_sequence"]))


def picked(rows: Sequence[Mapping[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """Some columns of rows."""
    return [tuple(row[name] for name in names) for row in rows]
