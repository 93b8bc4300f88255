"""Records that move through the runtime: `RecordBatch`es come in, `OutputRecord`s go out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from streams.model.change import Change, Malformed, Tombstone

Fold = Callable[[Any, Change[Any]], Any]
"""`fold(state, change)` alters the state and returns an outcome of `streams/model/fold.py` or an object to publish."""

TimerCallback = Callable[[Any], Any]
"""`callback(state)` does the same for a timer that is due; it has no change, and may also return `FORGOTTEN`."""

RECORD_OVERHEAD_BYTES: Final = 500
"""Approximate memory of a record in addition to its key and value, so that records without a value count too."""


class SourceRecord(Protocol):
    """Fields of a consumed Kafka record that the runtime uses."""

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
    """A record to be written in the transaction of a turn (a micro-batch), to the turn's partition number.

    Attributes:
        source: the source record that this one copies unchanged, for sinks that also keep its offset and timestamp.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    source: SourceRecord | None = None


class BatchOwner(Protocol):
    """The partition task that a batch was polled for; it folds the batch."""

    async def accept(self, batch: RecordBatch, fold: Fold) -> int: ...


class RecordBatch:
    """Consecutive records of one topic partition, returned by one poll.

    Attributes:
        from_offset: the consumer's position before the poll: `records[0].offset`, or less after transaction markers.
        next_offset: the offset after the last record.
        records: the consumed records, by offset.
        changes: the decoded records, in the same order; empty before decoding.
        size_bytes: size of keys and values, plus an estimate of the memory used per record.
        owner: the partition task that the poll was made for; a partition that is opened again gets another task.
    """

    __slots__ = ("changes", "from_offset", "next_offset", "owner", "partition", "records", "size_bytes", "topic")

    def __init__(
        self, topic: str, partition: int, from_offset: int, records: Sequence[SourceRecord], owner: BatchOwner
    ) -> None:
        assert records, "a batch holds at least one record"
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

    async def submit(self, fold: Fold) -> int:
        """Queue the batch for its partition, which folds its changes with `fold`; return the number of records.

        Returns when the batch is queued, not when it is folded or committed: see step 1 in `task.py`. Each partition
        keeps the order of its batches; batches of several partitions may be in progress at the same time.
        """
        return await self.owner.accept(self, fold)
