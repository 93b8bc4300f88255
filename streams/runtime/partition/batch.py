"""The records that move through the runtime: a `RecordBatch` in, `OutputRecord`s out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from streams.model.change import Change, Malformed, Tombstone

Fold = Callable[[Any, Change[Any]], Any]
"""`fold(state, change)` alters the state and returns an outcome of `streams/model/fold.py` or an object to publish."""

TimerCallback = Callable[[Any], Any]
"""`callback(state)` does the same when a timer is due, without a change; it may also return `FORGOTTEN`."""

RECORD_OVERHEAD_BYTES: Final = 500
"""What a record costs in memory beside its bytes, roughly; without it, records without a value would cost nothing."""


class SourceRecord(Protocol):
    """What the runtime needs of a consumed Kafka record."""

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
    """A record to be written in a turn's transaction, to the partition number of the turn.

    Attributes:
        source: the source record that it repeats unchanged, for a sink that also keeps its place and its time.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    source: SourceRecord | None = None


class BatchOwner(Protocol):
    """Who folds a batch: the partition it was polled for."""

    async def accept(self, batch: RecordBatch, fold: Fold) -> int: ...


class RecordBatch:
    """Consecutive records of one topic partition, as one poll returned them.

    Attributes:
        from_offset: where the poll stood before the batch; `records[0].offset` or, after transaction markers, less.
        next_offset: the offset after the last record.
        records: as consumed; `changes` holds what each of them says, in the same order, once decoded.
        size_bytes: of keys and values, with what the records cost as objects.
        owner: the opened partition the poll was made for. A reopened partition is another owner.
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
