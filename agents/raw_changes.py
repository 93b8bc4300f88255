"""What agents of sinks share that read change topics without decoding them, because they need the whole record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from faust import StreamT

from streams.model.change import Change, Malformed, Tombstone
from streams.model.fold import UNCHANGED, Rejected
from streams.model.source_time import is_credible
from streams.runtime.partition.batch import Fold, RecordBatch, SourceRecord

Agent = Callable[[StreamT[RecordBatch]], AsyncIterator[int]]
Decode = Callable[[bytes | None, bytes | None], Change[Any] | Malformed | Tombstone]


def submitting(fold: Fold) -> Agent:
    """Return an agent that submits each batch of records to its partition's task, with this fold."""

    async def submit(batches: StreamT[RecordBatch]) -> AsyncIterator[int]:
        async for batch in batches:
            yield await batch.submit(fold)

    return submit


def decoding(decode: Decode, make: Callable[[Change[Any], SourceRecord], Any]) -> Fold:
    """Return a fold without state, which makes its outcome from a decoded change and the change's record.

    A tombstone changes nothing. A record that cannot be decoded is rejected, and so is one for which `make` raises
    ValueError.
    """

    def fold(state: Any, change: Change[SourceRecord]) -> Any:
        record = change.row
        decoded = decode(record.key, record.value)
        if isinstance(decoded, Malformed):
            raise Rejected(decoded.reason)
        if isinstance(decoded, Tombstone):
            return UNCHANGED
        try:
            return make(decoded, record)
        except ValueError as error:
            raise Rejected(str(error)) from error

    return fold


def time_ms(change: Change[Any], record: SourceRecord) -> int:
    """Return the time of a change, or of its record in Kafka if the change has none or one that cannot be right."""
    if change.at_ms > 0 and is_credible(change.at_ms, record.timestamp):
        return change.at_ms
    return max(0, record.timestamp)
