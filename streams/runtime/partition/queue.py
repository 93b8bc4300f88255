"""The batches that wait in a partition for its next turn: bounded in bytes, without a gap.

Topics are polled at their own pace, but what belongs together was written at about the same time. So a turn that
cannot take all takes the oldest by Kafka's timestamps, whatever their topic, and does not run ahead of a topic that is
known to have more: an order's row and its lines mostly meet in one turn, and its state is written once. Kafka Streams
chooses its next record in the same way (`max.task.idle.ms`, KIP-695).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Final

from streams.runtime.partition.batch import Fold, RecordBatch

PATIENCE_S: Final = 1.0
"""How long the others wait for a topic that has more but does not deliver it: its broker may be away."""


class BatchesApartError(Exception):
    """A batch was lost between the poll and its turn; another task polls it again."""


class BatchQueue:
    """Batches on their way from the consumer to a turn.

    Args:
        max_bytes: bytes that may wait before polls are unwelcome, shared evenly by the topics.

    Attributes:
        next_offsets: where the turns stand in each source topic.
        filled: set when a batch arrives.
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
        """Whether another poll of a topic is welcome."""
        return self._polled_bytes[topic] * len(self.next_offsets) < self._max_bytes

    def polled(self, batch: RecordBatch) -> None:
        """Account for a batch that is on its way through Faust to `put`."""
        self._polled_bytes[batch.topic] += batch.size_bytes

    def put(self, batch: RecordBatch, fold: Fold) -> None:
        """Let a batch wait for its turn."""
        self._waiting.setdefault(batch.topic, deque()).append((batch, fold))
        self.filled.set()

    @property
    def dry(self) -> list[str]:
        """The topics of which nothing waits."""
        return [topic for topic in self.next_offsets if not self._waiting.get(topic)]

    def note_behind(self, behind: Mapping[str, int]) -> None:
        """Take in how many records of a topic are still to be polled."""
        self._behind |= behind
        if self:
            self.filled.set()

    def waits_for_more(self) -> bool:
        """Whether a turn had better wait for a topic that has more, of which nothing is here; for a moment only."""
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
        """Number of records of a topic that wait."""
        return sum(len(batch) for batch, _ in self._waiting.get(topic, ()))

    def clear(self) -> None:
        """Drop what waits."""
        self._waiting.clear()

    def take(self, max_records: int) -> Sequence[tuple[RecordBatch, Fold]]:
        """Step 1 of a turn: the oldest batches up to the size of a turn, each where its topic's last one ended.

        Raises:
            BatchesApartError: one does not begin where its topic's last one ended.
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
        """Raise if a batch does not begin where its topic's last one ended."""
        expected = self.next_offsets.get(batch.topic)
        if batch.from_offset != expected or batch.records[0].offset < batch.from_offset:
            raise BatchesApartError(f"{batch!r} does not follow offset {expected}")


def _oldest_ms(waiting: deque[tuple[RecordBatch, Fold]]) -> int:
    return waiting[0][0].records[0].timestamp
