"""End offsets of the source partitions, read in the background: consumer lag, and transactions that hold readers up.

The consumer itself knows the end of a partition only as of its last fetch. It fetches nothing while a partition's queue
is full, or while the partition is restored or waits for a server: its figures would stand still in every outage.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import aiokafka
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from faust.types import TP
from mode import Service

from streams.runtime.faust.first_unread import FirstUnread
from streams.runtime.faust.transport import BatchConsumer
from streams.runtime.faust.worker import WorkerApp
from streams.runtime.partition.lifecycle import Partition
from streams.runtime.partition.queue import BatchQueue
from streams.runtime.partition.task import PartitionTask

log = logging.getLogger(__name__)

LOOK_INTERVAL_S: Final = 2.0
LOOK_TIMEOUT_S: Final = 5.0

POSITION_TIMEOUT_S: Final = 0.3
"""How long the consumer's thread, which may be waiting for Kafka, is asked for its positions: well below the second
after which the page of another worker gives this one up."""

HELD_UP_S: Final = 10.0
"""Time for which an open transaction may hold up a source partition before a warning is logged; the transactions of
Kafka Connect take milliseconds."""

_RETRY_BACKOFF_MS: Final = 1_000
"""The clients' pause between attempts to reach Kafka; their default of 100 ms would fill the log in an outage."""


_STOP_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class PartitionEnd:
    """The end of a source partition, as of the last look.

    Attributes:
        stable: the last stable offset; a read-committed consumer reads up to it.
        end: the offset of the next record. It is above `stable` while a transaction is open.
        held_up_since: monotonic time from which on `stable` has stood still below `end`; None if it does not.
    """

    stable: int
    end: int
    held_up_since: float | None = None


@dataclass(frozen=True, kw_only=True)
class SourceLag:
    """How far a source partition is behind.

    Attributes:
        records: source records that can be read and are not processed yet, whether polled or not; 0 when idle.
        uncommitted: offsets that cannot be read yet, because a transaction before them is open.
        held_up_s: seconds for which an open transaction has held the partition up; 0 if none does.
        oldest_s: age of the first of `records` by its Kafka timestamp, in seconds; 0 when idle, None if unknown.
    """

    records: int
    uncommitted: int
    held_up_s: float
    oldest_s: float | None = 0.0


class SourceOffsets(Service):
    """A service that reads the end offsets of this worker's source partitions every few seconds.

    Args:
        partitions: returns the partitions of this worker.

    Attributes:
        ends: the end of each source partition, as of the last look.
        looked_at: monotonic time of the last look that Kafka has answered; None before the first.
    """

    def __init__(self, app: WorkerApp, partitions: Callable[[], Sequence[Partition]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ends: dict[TP, PartitionEnd] = {}
        self.looked_at: float | None = None
        self._app = app
        self._partitions = partitions
        self._committed: dict[TP, int] = {}
        self._warned: set[TP] = set()
        self._readers: list[aiokafka.AIOKafkaConsumer] = []
        self._first_unread = FirstUnread(lambda: {**app.kafka_client, "retry_backoff_ms": _RETRY_BACKOFF_MS})
        self._first_unread_ms: Mapping[TP, int] = {}

    async def lags(self) -> Mapping[TP, SourceLag]:
        """Return the lag of each source partition, from the last look and from what the consumer has fetched since."""
        tasks = self._tasks_by_source()
        positions: Mapping[TP, tuple[int, int | None]] = {}
        if tasks:
            with contextlib.suppress(TimeoutError):  # the consumer's thread may be waiting for Kafka
                async with asyncio.timeout(POSITION_TIMEOUT_S):
                    positions = await cast(BatchConsumer, self._app.consumer).positions(list(tasks))
        return {tp: self._lag(tp, task.queue, positions.get(tp)) for tp, task in tasks.items()}

    def _tasks_by_source(self) -> dict[TP, PartitionTask]:
        return {
            TP(topic, partition.number): partition.task
            for partition in self._partitions()
            for topic in partition.pipeline.sources
        }

    def _lag(self, tp: TP, queue: BatchQueue, polled: tuple[int, int | None] | None) -> SourceLag:
        known = self.ends.get(tp, PartitionEnd(stable=0, end=0))
        if polled is not None:
            position, fetched_end = polled
            records = queue.records_of(tp.topic) + max(0, max(known.stable, fetched_end or 0) - position)
        else:
            resumes_at = self._committed.get(tp, queue.next_offsets.get(tp.topic, known.stable))
            records = max(0, known.stable - resumes_at)
        held_up_s = 0.0 if known.held_up_since is None else time.monotonic() - known.held_up_since
        oldest_s = self._age_s(tp, queue) if records else 0.0
        return SourceLag(records=records, uncommitted=known.end - known.stable, held_up_s=held_up_s, oldest_s=oldest_s)

    def _age_s(self, tp: TP, queue: BatchQueue) -> float | None:
        """Return the age of the first unprocessed record; None if it was neither polled nor looked at."""
        oldest_ms = queue.oldest_of(tp.topic)
        if oldest_ms is None:
            oldest_ms = self._first_unread_ms.get(tp)
        return None if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000)

    @property
    def age_s(self) -> float:
        """Seconds since the last look that Kafka has answered; infinite before the first."""
        return float("inf") if self.looked_at is None else time.monotonic() - self.looked_at

    # -- looking ------------------------------------------------------------------------------------------------------

    @Service.task
    async def _look_again_and_again(self) -> None:
        while not self.should_stop:
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    await self._look({tp: task.is_open for tp, task in self._tasks_by_source().items()})
            except (KafkaError, OSError, TimeoutError) as error:
                log.debug("the end offsets of the source topics cannot be read: %r", error)  # `looked_at` shows it
                await self.sleep(LOOK_TIMEOUT_S)
            await self.sleep(LOOK_INTERVAL_S)

    async def _look(self, is_open: Mapping[TP, bool]) -> None:
        if not is_open:
            self.note({}, {}, {})
            return
        tps = [TopicPartition(*tp) for tp in is_open]
        if not self._readers:
            await self._connect()
        every, committed = self._readers
        ends = await every.end_offsets(tps)  # first, because the stable ones may be read a little later
        stable = await committed.end_offsets(tps)
        resumed = [TopicPartition(*tp) for tp in is_open if not is_open[tp]]
        self.note(_by_tp(ends), _by_tp(stable), _by_tp({tp: await committed.committed(tp) for tp in resumed}))
        self._first_unread_ms = _by_tp(await self._first_unread.timestamps(self._unpolled()))

    def _unpolled(self) -> dict[TopicPartition, int]:
        """Return the first unprocessed offset of each source partition that has records, none of them polled."""
        unpolled = {}
        for tp, task in self._tasks_by_source().items():
            end = self.ends[tp].stable if tp in self.ends else 0
            offset = task.queue.next_offsets.get(tp.topic, end) if task.is_open else self._committed.get(tp, end)
            if offset < end and task.queue.oldest_of(tp.topic) is None:
                unpolled[TopicPartition(*tp)] = offset
        return unpolled

    async def _connect(self) -> None:
        """Open a client that sees all records, and one that sees committed records and the group's offsets."""
        options = {**self._app.kafka_client, "retry_backoff_ms": _RETRY_BACKOFF_MS, "enable_auto_commit": False}
        opened = [
            aiokafka.AIOKafkaConsumer(**options),
            aiokafka.AIOKafkaConsumer(**options, isolation_level="read_committed", group_id=self._app.conf.id),
        ]
        try:
            for reader in opened:
                await reader.start()
        except BaseException:
            await _stop(opened)
            raise
        self._readers = opened

    async def on_stop(self) -> None:
        """Close the clients."""
        await _stop(self._readers)
        await self._first_unread.close()

    # -- what was seen ------------------------------------------------------------------------------------------------

    def note(self, ends: Mapping[TP, int], stable: Mapping[TP, int], committed: Mapping[TP, int | None]) -> None:
        """Take over the offsets of a look, and warn once of each transaction that holds a partition up."""
        now = time.monotonic()
        before, self.ends = self.ends, {}
        for tp, offset in stable.items():
            self.ends[tp] = seen = _end_of(before.get(tp), offset, max(offset, ends[tp]), now)
            self._warn(tp, seen, now)
        self._committed = {tp: offset or 0 for tp, offset in committed.items()}
        self.looked_at = now
        self._warned &= self.ends.keys()

    def _warn(self, tp: TP, seen: PartitionEnd, now: float) -> None:
        if seen.held_up_since is None or seen.held_up_since == now:
            if tp in self._warned:
                self._warned.remove(tp)
                log.info("partition %d of topic %s is no longer held up", tp.partition, tp.topic)
        elif now - seen.held_up_since >= HELD_UP_S and tp not in self._warned:
            self._warned.add(tp)
            log.warning(
                "partition %d of topic %s is held up: a transaction has been open for %.0f s at "
                "offset %d, and nothing can be read from there to offset %d before it ends or Kafka aborts it; "
                "kafka-transactions.sh describe-producers names its producer",
                tp.partition,
                tp.topic,
                now - seen.held_up_since,
                seen.stable,
                seen.end,
            )


def _end_of(before: PartitionEnd | None, stable: int, end: int, now: float) -> PartitionEnd:
    if stable == end:
        return PartitionEnd(stable=stable, end=end)
    stands_still = before is not None and before.stable == stable and before.held_up_since is not None
    since = before.held_up_since if before is not None and stands_still else now
    return PartitionEnd(stable=stable, end=end, held_up_since=since)


async def _stop(readers: Sequence[aiokafka.AIOKafkaConsumer]) -> None:
    for reader in readers:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await reader.stop()


def _by_tp(offsets: Mapping[TopicPartition, Any]) -> dict[TP, Any]:
    return {TP(tp.topic, tp.partition): offset for tp, offset in offsets.items()}
