"""Rows of the archive: conversion of consumed records to Arrow batches, and of batches to a Parquet file."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from streams.runtime.partition.batch import SourceRecord

_HEADER: Final = pa.struct([pa.field("key", pa.string()), pa.field("value", pa.binary())])

SCHEMA: Final = pa.schema(
    [
        pa.field("topic", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp", pa.timestamp("ms", tz="UTC")),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.list_(_HEADER)),
    ]
)
"""Schema of the archive's Parquet files, with one row per Kafka record. A missing value (a tombstone) is null, and an
empty value is empty; the same holds for keys and header values. `timestamp` is the record's timestamp in Kafka."""

_OFFSET: Final = SCHEMA.get_field_index("offset")


class Rows:
    """Buffer of the records that wait to be archived, as Arrow batches in the order of their offsets.

    Attributes:
        size_bytes: memory used by the records, in bytes.
        records: number of records.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self.records = 0
        self._batches: list[Any] = []

    def __bool__(self) -> bool:
        return self.records > 0

    @property
    def last_offset(self) -> int:
        """Offset of the last record; raises IndexError if there are no records."""
        batch = self._batches[-1]
        return int(batch.column(_OFFSET)[batch.num_rows - 1].as_py())

    def add(self, records: Sequence[SourceRecord]) -> None:
        """Append the next records of the partition to the buffer."""
        self._set([*self._batches, _batch(records)])

    def drop_through(self, last: int) -> None:
        """Drop the records up to and including the offset `last`."""
        if not self._batches or last >= self.last_offset:
            self._set([])
            return
        kept = [batch.slice(bisect_right(batch.column(_OFFSET).to_pylist(), last)) for batch in self._batches]
        self._set([batch for batch in kept if batch.num_rows])

    def file(self) -> Callable[[], bytes]:
        """Return a function that encodes the current records as a Parquet file; any thread may call it later."""
        table = pa.Table.from_batches(self._batches, schema=SCHEMA)
        return lambda: _parquet(table)

    def _set(self, batches: list[Any]) -> None:
        self._batches = batches
        self.records = sum(batch.num_rows for batch in batches)
        self.size_bytes = sum(batch.nbytes for batch in batches)


def _parquet(table: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(
        table,
        file,
        compression="zstd",
        use_dictionary=["topic", "partition"],  # the other columns rarely repeat a value
        write_statistics=["offset", "timestamp"],
    )
    return file.getvalue()


def _batch(records: Sequence[SourceRecord]) -> Any:
    count, first = len(records), records[0]
    return pa.RecordBatch.from_arrays(
        [
            pa.repeat(pa.scalar(first.topic, pa.string()), count),
            pa.repeat(pa.scalar(first.partition, pa.int32()), count),
            pa.array([record.offset for record in records], pa.int64()),
            pa.array([record.timestamp if record.timestamp >= 0 else None for record in records], SCHEMA[3].type),
            pa.array([record.key for record in records], pa.binary()),
            pa.array([record.value for record in records], pa.binary()),
            pa.array([list(record.headers) for record in records], SCHEMA[6].type),
        ],
        schema=SCHEMA,
    )
