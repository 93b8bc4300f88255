"""The batches that wait in a partition for its next turn: bounded in bytes, without a gap."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from streams.runtime.batch import Batch, Fold


class BatchesApartError(Exception):
    """A batch was lost between the poll and its turn; another opening polls it again."""


class BatchQueue:
    """Batches on their way from the consumer to a turn.

    Args:
        max_bytes: bytes that may wait before polls are unwelcome.

    Attributes:
        next_offsets: where the turns stand in each source topic.
        filled: set when a batch arrives.
    """

    def __init__(self, max_bytes: int) -> None:
        self.next_offsets: dict[str, int] = {}
        self.filled = asyncio.Event()
        self._max_bytes = max_bytes
        self._polled_bytes = 0
        self._waiting: deque[tuple[Batch, Fold]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether another poll is welcome."""
        return self._polled_bytes < self._max_bytes

    def polled(self, batch: Batch) -> None:
        """Account for a batch that is on its way through Faust to `put`."""
        self._polled_bytes += batch.size_bytes

    def put(self, batch: Batch, fold: Fold) -> None:
        """Let a batch wait for its turn."""
        self._waiting.append((batch, fold))
        self.filled.set()

    def records_of(self, topic: str) -> int:
        """Number of records of a topic that wait."""
        return sum(len(batch) for batch, _ in self._waiting if batch.topic == topic)

    def clear(self) -> None:
        """Drop what waits."""
        self._waiting.clear()

    def take(self, max_records: int) -> Sequence[tuple[Batch, Fold]]:
        """Step 1 of a turn: its batches, those that wait up to the size of a turn, each where the last one ended.

        Raises:
            BatchesApartError: one does not begin where its topic's last one ended.
        """
        taken: list[tuple[Batch, Fold]] = []
        records = 0
        while self._waiting:
            batch, fold = self._waiting[0]
            if taken and records + len(batch) > max_records:
                break
            self._waiting.popleft()
            self._polled_bytes -= batch.size_bytes
            records += len(batch)
            self.check_begin(batch)
            self.next_offsets[batch.topic] = batch.next_offset
            taken.append((batch, fold))
        return taken

    def check_begin(self, batch: Batch) -> None:
        """Raise if a batch does not begin where its topic's last one ended."""
        expected = self.next_offsets.get(batch.topic)
        if batch.from_offset != expected or batch.records[0].offset < batch.from_offset:
            raise BatchesApartError(f"{batch!r} does not follow offset {expected}")
