"""Agent `archive`, one per change topic: archives the topic's records unchanged.

in: a change topic · out: the archive in object storage
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from faust import StreamT

from streams.model.change import Change
from streams.runtime.partition.batch import OutputRecord, RecordBatch, SourceRecord
from streams.runtime.partition.processor import PartitionView, StatelessProcessor
from streams.runtime.partition.turn import Turn


async def archive(batches: StreamT[RecordBatch]) -> AsyncIterator[int]:
    """Submit each batch of records to its partition; yield the number of records."""
    async for batch in batches:
        yield await batch.submit(keep)


def keep(state: Any, change: Change[SourceRecord]) -> SourceRecord:
    """Return the record itself, a fold without a state: every record is archived."""
    return change.row


class ArchiveProcessor(StatelessProcessor):
    """The processor of `streams.archive`: publishes every record of a turn (a micro-batch) unchanged."""

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        """Return every record unchanged."""
        turn.caused_at_ms.clear()  # records become visible with their object, after the turn
        return [OutputRecord(record.topic, record.key, record.value, source=record) for record in turn.outcomes]

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """Fail, because no record is ever rejected, whatever its bytes are."""
        raise AssertionError(f"an archived record is never decoded, but was rejected: {reason}")

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        """Count nothing: the sink counts the archived records."""
