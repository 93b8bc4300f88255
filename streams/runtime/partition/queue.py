"""The batches that wait for a partition's next turn (its next micro-batch): bounded in bytes, without a gap.

Topics are polled at their own pace, but related records were written at about the same time. So a turn that cannot take
all batches takes those with the oldest Kafka timestamps, whatever their topic, and stops at a topic that has run out of
batches but is known to have more records. Therefore an order's row and its lines mostly meet in one turn, and the
order's state is written once. Kafka Streams chooses its next record in the same way (`max.task.idle.ms`, KIP-695).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Final

from streams.runtime.partition.batch import Fold, RecordBatch

PATIENCE_S: Final = 1.0
"""Longest wait for a topic that has more records but does not deliver them: its broker may be unavailable."""


class BatchesApartError(Exception):
    """A batch was lost between poll and turn; the next task polls it again."""


class BatchQueue:
    """Queue of the batches that were polled but not taken by a turn yet.

    Args:
        max_bytes: number of waiting bytes at which polling stops, shared evenly by the topics.

    Attributes:
        next_offsets: next offset to process, keyed by source topic.
        filled: set when a batch arrives, or when a wait for more batches may be over.
    """

    def __init__(self, max_bytes: int) -> None:
        self.next_offsets: dict[str, int] = {}
        self.filled = asyncio.Event()
        self._max_bytes = max_bytes
        self._polled_bytes: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[RecordBatch, Fold]]] = {}
        self._behind: dict[str, int] = {}
        self._dry_since: float | None = None

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def has_room(self, topic: str) -> bool:
        """Whether a topic may be polled again."""
        return self._polled_bytes[topic] * len(self.next_offsets) < self._max_bytes

    def polled(self, batch: RecordBatch) -> None:
        """Count a batch that Faust is about to deliver to `put`."""
        self._polled_bytes[batch.topic] += batch.size_bytes

    def put(self, batch: RecordBatch, fold: Fold) -> None:
        """Append a batch, together with the fold for its changes."""
        self._waiting.setdefault(batch.topic, deque()).append((batch, fold))
        self.filled.set()

    @property
    def dry(self) -> list[str]:
        """Topics without a waiting batch."""
        return [topic for topic in self.next_offsets if not self._waiting.get(topic)]

    def note_behind(self, behind: Mapping[str, int]) -> None:
        """Update how many records are still to be polled, keyed by topic."""
        self._behind |= behind
        if self:
            self.filled.set()

    def waits_for_more(self) -> bool:
        """Whether the next turn should briefly wait for a topic that has more records but no batch here."""
        if not any(self._has_more(topic) for topic in self.dry):
            self._dry_since = None
            return False
        now = time.monotonic()
        if self._dry_since is None:
            self._dry_since = now
        return now - self._dry_since < PATIENCE_S

    def _has_more(self, topic: str) -> bool:
        return self._polled_bytes[topic] > 0 or self._behind.get(topic, 1) > 0

    def records_of(self, topic: str) -> int:
        """Number of waiting records of a topic."""
        return sum(len(batch) for batch, _ in self._waiting.get(topic, ()))

    def clear(self) -> None:
        """Drop the waiting batches."""
        self._waiting.clear()

    def take(self, max_records: int) -> Sequence[tuple[RecordBatch, Fold]]:
        """Run step 1 of a turn (see `task.py`): take the oldest batches, up to `max_records` but at least one batch.

        Raises:
            BatchesApartError: a batch does not start where the previous one of its topic ended.
        """
        taken: list[tuple[RecordBatch, Fold]] = []
        records = 0
        while source := min(filter(None, self._waiting.values()), key=_oldest_ms, default=None):
            batch, fold = source[0]
            if taken and records + len(batch) > max_records:
                break
            source.popleft()
            self._polled_bytes[batch.topic] -= batch.size_bytes
            records += len(batch)
            self.check_begin(batch)
            self.next_offsets[batch.topic] = batch.next_offset
            taken.append((batch, fold))
            if not source and self._has_more(batch.topic):
                break
        return taken

    def check_begin(self, batch: RecordBatch) -> None:
        """Raise `BatchesApartError` if a batch does not start where the previous one of its topic ended."""
        expected = self.next_offsets.get(batch.topic)
        if batch.from_offset != expected or batch.records[0].offset < batch.from_offset:
            raise BatchesApartError(f"{batch!r} does not follow offset {expected}")


def _oldest_ms(waiting: deque[tuple[RecordBatch, Fold]]) -> int:
    return waiting[0][0].records[0].timestamp
