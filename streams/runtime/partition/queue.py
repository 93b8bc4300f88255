"""Queue of the batches that wait for a partition's next turn (micro-batch), limited by their size in bytes.

Topics are polled independently of each other, but related records are written at about the same time. A turn that
cannot take all waiting batches therefore takes those with the oldest Kafka timestamps, regardless of topic. It stops
when a topic has no waiting batch left but still has records in Kafka. As a result, the row and the lines of an order
are usually processed in the same turn, and the order's state is written once. Kafka Streams chooses its next record in
the same way (`max.task.idle.ms`, KIP-695).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from streams.runtime.partition.batch import Fold, RecordBatch

PATIENCE_S: Final = 1.0
"""Longest time to wait for a topic that has more records but does not deliver them, for example during an outage."""


GATHER_S: Final = 0.001
"""Pause between the arrival of a batch at an idle partition and the next turn (micro-batch). Related changes, such as
those of an order and of its lines, arrive as two batches at almost the same time. Two separate turns would cost two
transactions, and the second batch would wait for the first transaction."""


class BatchesApartError(Exception):
    """A batch does not start where the previous batch of its topic ended; the next task polls the records again."""


class BatchQueue:
    """Queue of the batches that were polled but not yet taken by a turn (micro-batch).

    Args:
        max_bytes: size of the waiting batches at which polling pauses, divided equally among the topics.

    Attributes:
        next_offsets: next offset to process, keyed by source topic.
        filled: set when a batch arrives, or when waiting for more batches may have become unnecessary.
    """

    def __init__(self, max_bytes: int) -> None:
        self.next_offsets: dict[str, int] = {}
        self.filled = asyncio.Event()
        self._max_bytes = max_bytes
        self._polled_bytes: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[RecordBatch, Fold]]] = {}
        self._behind: dict[str, int] = {}
        self._dry_since: float | None = None
        self._under_way: Sequence[tuple[RecordBatch, Fold]] = ()

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def has_room(self, topic: str) -> bool:
        """Return whether a topic may be polled: the size of its waiting batches is below the limit."""
        return self._polled_bytes[topic] * len(self.next_offsets) < self._max_bytes

    def polled(self, batch: RecordBatch) -> None:
        """Add the size of a polled batch to the queue's size, before Faust delivers the batch to `put`."""
        self._polled_bytes[batch.topic] += batch.size_bytes

    def put(self, batch: RecordBatch, fold: Fold) -> None:
        """Append a batch, together with the fold function for its changes."""
        self._waiting.setdefault(batch.topic, deque()).append((batch, fold))
        self.filled.set()

    @property
    def dry(self) -> list[str]:
        """Source topics that have no waiting batch."""
        return [topic for topic in self.next_offsets if not self._waiting.get(topic)]

    def note_behind(self, behind: Mapping[str, int]) -> None:
        """Update the number of records still to be polled, keyed by topic."""
        self._behind |= behind
        if self:
            self.filled.set()

    def waits_for_more(self) -> bool:
        """Return whether the next turn should wait briefly, as a topic without waiting batches has more records."""
        if not any(self._has_more(topic) for topic in self.dry):
            self._dry_since = None
            return False
        now = time.monotonic()
        if self._dry_since is None:
            self._dry_since = now
        return now - self._dry_since < PATIENCE_S

    def _has_more(self, topic: str) -> bool:
        return self._polled_bytes[topic] > 0 or self._behind.get(topic, 1) > 0

    async def wait(self, seconds: float) -> None:
        """Wait until a batch has arrived or `seconds` have passed, and then briefly for related batches."""
        self.filled.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.filled.wait(), max(0.0, seconds))
        await asyncio.sleep(GATHER_S)

    def records_of(self, topic: str) -> int:
        """Return the number of a topic's records that wait or belong to the turn under way."""
        return sum(map(len, self._unprocessed(topic)))

    def oldest_of(self, topic: str) -> int | None:
        """Return the Kafka timestamp, in ms since 1970, of a topic's first record that is not processed yet."""
        first = next(self._unprocessed(topic), None)
        return None if first is None else first.records[0].timestamp

    def _unprocessed(self, topic: str) -> Iterator[RecordBatch]:
        for batch, _ in self._under_way:
            if batch.topic == topic:
                yield batch
        for batch, _ in self._waiting.get(topic, ()):
            yield batch

    def turn_ended(self) -> None:
        """Forget the batches that were taken last, because their turn has been committed."""
        self._under_way = ()

    def oldest_ms(self) -> float:
        """Return the Kafka timestamp of the oldest waiting record, in ms since 1970; infinite if none waits."""
        return min(map(_oldest_ms, filter(None, self._waiting.values())), default=float("inf"))

    def clear(self) -> None:
        """Drop all batches."""
        self._waiting.clear()
        self._under_way = ()

    def take(self, max_records: int) -> Sequence[tuple[RecordBatch, Fold]]:
        """Remove and return the oldest batches, with up to `max_records` records in total but at least one batch.

        Until `turn_ended` is called, they count as unprocessed.

        Raises:
            BatchesApartError: a batch does not start where the previous batch of its topic ended.
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
        self._under_way = taken
        return taken

    def check_begin(self, batch: RecordBatch) -> None:
        """Raise `BatchesApartError` if a batch does not start where the previous batch of its topic ended."""
        expected = self.next_offsets.get(batch.topic)
        if batch.from_offset != expected or batch.records[0].offset < batch.from_offset:
            raise BatchesApartError(f"{batch!r} does not follow the previous batch: expected offset {expected}")


def _oldest_ms(waiting: deque[tuple[RecordBatch, Fold]]) -> int:
    return waiting[0][0].records[0].timestamp
