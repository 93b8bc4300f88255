"""Data types for the records that the runtime processes: `RecordBatch` for input, `OutputRecord` for output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from streams.model.change import Change, Malformed, Tombstone

Fold = Callable[[Any, Change[Any]], Any]
"""A function `fold(state, change)` that updates the state in place. It returns the object to publish, or one of the
constants of `streams/model/fold.py`, such as `UNCHANGED`."""

TimerCallback = Callable[[Any], Any]
"""A function `callback(state)` for a timer that is due: it updates the state in place. It returns what a `Fold` may
return, or `FORGOTTEN` to delete the state."""

RECORD_OVERHEAD_BYTES: Final = 500
"""Estimated memory per record in addition to its key and value, so that records without a value count too."""


class SourceRecord(Protocol):
    """The fields of a consumed Kafka record that the runtime uses."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class OutputRecord(NamedTuple):
    """A record to write in the transaction of a turn (micro-batch), to the same partition number as the turn's input.

    Attributes:
        source: the source record that this record copies unchanged, for sinks that also store its offset and timestamp;
            None if the record is not a copy.
        content: what a sink other than Kafka writes instead of key and value; None if it writes these.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    source: SourceRecord | None = None
    content: object = None


class BatchOwner(Protocol):
    """Interface through which a `RecordBatch` is passed to the partition task that it was polled for."""

    async def accept(self, batch: RecordBatch, fold: Fold) -> int: ...


class RecordBatch:
    """Consecutive records of one topic partition, all from the same poll.

    Attributes:
        from_offset: the consumer's position before the batch; less than `records[0].offset` after transaction markers.
        next_offset: the offset after the last record.
        records: the consumed records, in order of their offsets.
        changes: the decoded records, in the same order; empty until the batch is decoded.
        size_bytes: total size of keys and values, plus an estimate of the other memory that the records use.
        owner: the partition task that the batch was polled for; a reopened partition has a new task.
    """

    __slots__ = ("changes", "from_offset", "next_offset", "owner", "partition", "records", "size_bytes", "topic")

    def __init__(
        self, topic: str, partition: int, from_offset: int, records: Sequence[SourceRecord], owner: BatchOwner
    ) -> None:
        assert records, "a batch must contain at least one record"
        self.topic = topic
        self.partition = partition
        self.from_offset = from_offset
        self.next_offset = records[-1].offset + 1
        self.records = records
        values = sum([len(r.value or b"") for r in records])
        self.size_bytes = values + sum([len(r.key or b"") for r in records]) + len(records) * RECORD_OVERHEAD_BYTES
        self.owner = owner
        self.changes: Sequence[Change[Any] | Tombstone | Malformed] = ()

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"<RecordBatch {self.topic}/{self.partition} {self.from_offset}..{self.next_offset}>"

    def head(self, count: int) -> RecordBatch:
        """Return a batch of the first `count` records."""
        batch = RecordBatch(self.topic, self.partition, self.from_offset, self.records[:count], self.owner)
        batch.changes = self.changes[:count]
        return batch

    async def submit(self, fold: Fold) -> int:
        """Queue the batch for its partition, which will apply `fold` to each change; return the number of records.

        This method returns as soon as the batch is queued, before any change is folded or committed. The batches of a
        topic partition are processed in order; different partitions are processed concurrently.
        """
        return await self.owner.accept(self, fold)
