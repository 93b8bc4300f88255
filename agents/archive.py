"""Agent `archive`, one for each change topic, and what happens to its records: they are kept as they came.

in: a change topic · out: the archive on the object storage
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
    """Take in each batch of records; yields their number."""
    async for batch in batches:
        yield await batch.submit(keep)


def keep(state: Any, change: Change[SourceRecord]) -> SourceRecord:
    """The fold, which needs no state: every record is to be kept."""
    return change.row


class ArchiveProcessor(StatelessProcessor):
    """The processor of `streams.archive`."""

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        """Every record as it is."""
        turn.caused_at_ms.clear()  # the end of the turn makes nothing visible: the object does, later
        return [OutputRecord(record.topic, record.key, record.value, source=record) for record in turn.outcomes]

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """There are none: whatever the bytes are, they are kept."""
        raise AssertionError(f"a record that is not even read was refused: {reason}")

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        """The sink counts what it has put."""
