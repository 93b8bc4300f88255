"""Agent `archive`, started once per change topic: archives the topic's records unchanged.

Input: a change topic. Output: Parquet objects in object storage.
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
    """Submit each batch of records to its partition's task; yield the number of records in the batch."""
    async for batch in batches:
        yield await batch.submit(keep)


def keep(state: Any, change: Change[SourceRecord]) -> SourceRecord:
    """Return the record unchanged; this fold needs no state, because every record is archived."""
    return change.row


class ArchiveProcessor(StatelessProcessor):
    """The processor of `streams.archive`, which publishes every record of a turn (a micro-batch) unchanged."""

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        """Return the records of the turn unchanged, for the archive sink."""
        turn.caused_at_ms.clear()  # no latency is measured: the object is put after the turn
        return [OutputRecord(record.topic, record.key, record.value, source=record) for record in turn.outcomes]

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """Raise AssertionError: the archive never decodes records, so it cannot reject any."""
        raise AssertionError(
            f"the archive must not reject records, but rejected offset {record.offset} of "
            f"{record.topic}/{record.partition}: {reason}"
        )

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        """Do nothing: the archive sink counts the archived records."""
