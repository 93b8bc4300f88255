"""A Kafka transport for Faust that delivers records in batches and leaves commits to the partitions.

`tests/unit/runtime/test_faust_canary.py` lists the private names of faust-streaming 0.15.3 that this module overrides
or uses, and fails if a new version changes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from time import monotonic
from typing import Any, Final, cast

from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams.runtime.faust.consumer_thread import BatchConsumerThread
from streams.runtime.faust.fetched import FetchedRecord
from streams.runtime.faust.transactions import PartitionTransactions
from streams.runtime.faust.worker import WorkerApp
from streams.runtime.partition.batch import RecordBatch
from streams.runtime.partition.host import PolledTask
from streams.runtime.partition.sources import SourceAlteredError

log = logging.getLogger(__name__)

POLL_S: Final = 0.2
"""Maximum duration of one poll, and therefore the longest time that a newly opened partition waits for its seek."""

CROWDED_POLL_S: Final = 0.01
"""Maximum duration of one poll while a partition's queue is full, because the queue may have room again soon."""

BATCH_RECORDS: Final = 500
"""Maximum number of records per batch. A turn (micro-batch) takes whole batches, so with smaller batches it can balance
the topics better."""


class BatchConsumer(driver.Consumer):
    """A Faust consumer that polls the open partitions whose queues have room, and delivers records in batches.

    The same loop polls and seeks, so that a record polled before a seek is never mistaken for a record polled after it.
    """

    app: WorkerApp
    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._partition_tasks: dict[TP, PolledTask] = {}
        self._seeks: dict[TP, tuple[PolledTask, int]] = {}
        self._polled_since: dict[TP, float] = {}
        self._room = asyncio.Event()

    def _new_consumer_thread(self) -> Any:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- used by the supervisor ---------------------------------------------------------------------------------------

    def begin_at(self, task: PolledTask, offsets: Mapping[TP, int]) -> None:
        """Start polling topic partitions on behalf of `task`, each from the given offset."""
        for tp, offset in offsets.items():
            self._seeks[tp] = (task, offset)
        self._room.set()

    def note_room(self) -> None:
        """Wake the polling loop, because a partition's queue may have room for more batches."""
        self._room.set()

    async def committed_offsets(self, tps: Sequence[TP]) -> Mapping[TP, tuple[int | None, str]]:
        """Return the offset that the consumer group has committed for each topic partition, and the text with it.

        The offset is None, and the text empty, if none was committed.
        """
        return await self._thread.committed(tps)

    async def commit_group_offsets(self, offsets: Mapping[TP, int]) -> None:
        """Commit offsets to the consumer group for a partition that stores its authoritative offsets in its sink.

        Raises:
            KafkaError: the consumer group did not accept the offsets, for example during a rebalance.
        """
        client = self._thread._ensure_consumer()
        places = {TopicPartition(tp.topic, tp.partition): offset for tp, offset in offsets.items()}
        await self._thread.call_thread(client.commit, places)

    async def is_member(self, generation: int) -> bool:
        """Return whether the group's coordinator confirms that this worker is a member of a group generation."""
        return await self._thread.is_member(generation)

    async def positions(self, tps: Sequence[TP]) -> Mapping[TP, tuple[int, int | None]]:
        """Return the position in each polled topic partition, and its stable end as of the last fetch."""
        client = self._thread._ensure_consumer()
        open_tps = [tp for tp in tps if (task := self._partition_tasks.get(tp)) is not None and task.is_open]

        async def look() -> dict[TP, tuple[int, int | None]]:
            assigned = client.assignment()
            places = {tp: TopicPartition(tp.topic, tp.partition) for tp in open_tps if tp in assigned}
            return {tp: (await client.position(at), client.last_stable_offset(at)) for tp, at in places.items()}

        return cast(Mapping[TP, tuple[int, int | None]], await self._thread.call_thread(look))

    async def behind(self, tps: Sequence[TP]) -> Mapping[TP, int]:
        """Return the number of offsets between the consumer's position and the end of each polled topic partition.

        Transaction markers are counted if records follow them, but not at the end of a partition.
        """
        found = await self.positions(tps)
        return {tp: max(0, end - position) for tp, (position, end) in found.items() if end is not None}

    async def pause_client(self, tps: Sequence[TP]) -> None:
        """Stop fetching changelog partitions, which are assigned only so that Faust can route web requests."""
        client = self._thread._ensure_consumer()

        async def pause() -> None:
            # Read the assignment in the client's thread: some partitions may have been revoked in the meantime.
            assigned = client.assignment()
            client.pause(*[TopicPartition(tp.topic, tp.partition) for tp in tps if tp in assigned])

        await self._thread.call_thread(pause)

    # -- the polling loop ---------------------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)  # type: ignore[arg-type]
                    continue
                await self._poll_once()
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def _poll_once(self) -> None:
        await self._apply_seeks()
        open_tps = {tp for tp, task in self._partition_tasks.items() if task.is_open}
        wanted = {tp for tp in open_tps if self._partition_tasks[tp].queue.has_room(tp.topic)}
        if not wanted:
            await self._wait_for_room()
            return
        generation = self.app.consumer_generation_id
        timeout = POLL_S if len(wanted) == len(open_tps) else CROWDED_POLL_S
        polled = await self._getmany(wanted, timeout)
        if not self.flow_active or self.app.consumer_generation_id != generation:
            return  # drop the records: every partition of the new generation seeks first
        for tp, records in polled.items():
            await self._hand_over(TP(tp.topic, tp.partition), records)
        await self._look_for_more(polled)

    async def _look_for_more(self, polled: Collection[TopicPartition]) -> None:
        """Update the number of records still to be polled, for polled topics and topics without a waiting batch.

        An outdated number would make turns wait for records that have already arrived. A partition with a single topic
        never waits for another topic.
        """
        wanted = {
            tp: queue
            for tp, queue in ((tp, task.queue) for tp, task in self._partition_tasks.items() if task.is_open)
            if len(queue.next_offsets) > 1 and (tp in polled or (queue and tp.topic in queue.dry))
        }
        if wanted:
            for tp, count in (await self.behind(list(wanted))).items():
                wanted[tp].note_behind({tp.topic: count})

    async def _wait_for_room(self) -> None:
        self._room.clear()
        try:
            await asyncio.wait_for(self._room.wait(), POLL_S)
        except TimeoutError:
            return

    async def _apply_seeks(self) -> None:
        if not self._seeks:
            return
        seeks, self._seeks = self._seeks, {}
        client = self._thread._ensure_consumer()

        async def seek() -> set[TP]:
            # Read the assignment in the client's thread; the next owner of a revoked partition makes its own seek.
            assigned = client.assignment()
            sought = {tp for tp, (task, _) in seeks.items() if task.is_open and tp in assigned}
            for tp in sought:
                client.seek(TopicPartition(tp.topic, tp.partition), seeks[tp][1])
            return sought

        for tp in await self._thread.call_thread(seek):
            self._partition_tasks[tp], offset = seeks[tp]
            self._read_offset[tp] = self._committed_offset[tp] = offset
            self._polled_since[tp] = monotonic()

    async def _hand_over(self, tp: TP, records: Sequence[FetchedRecord]) -> None:
        task = self._partition_tasks[tp]
        size = min(BATCH_RECORDS, self.app.batch_max_records)
        for begin in range(0, len(records), size):
            if not (task.is_open and self.flow_active):
                return
            from_offset = self._read_offset[tp]
            assert from_offset is not None
            if records[begin].offset > from_offset + 1 and (fault := await self._fault_of_gap(tp, from_offset)):
                # Not polled again before a new task seeks: the next batch would seem to follow the missing one.
                del self._partition_tasks[tp]
                task.fail(fault)
                return
            self._note_uncommitted(tp, from_offset)
            batch = RecordBatch(tp.topic, tp.partition, from_offset, records[begin : begin + size], task)
            self._read_offset[tp] = batch.next_offset
            task.queue.polled(batch)
            await self.wait_first(self.callback(self._message(tp, batch)), self.suspend_flow.wait())
        self._track_end(tp)

    async def _fault_of_gap(self, tp: TP, offset: int) -> Exception | None:
        """Return an error if the topic begins after `offset`, where aiokafka goes on silently, or if nobody knows."""
        try:
            begin = await self._thread.first_offset(tp)
        except (KafkaError, OSError, TimeoutError) as error:
            return error
        if begin > offset:
            return SourceAlteredError(f"records of {tp.topic}/{tp.partition} from {offset} on were deleted")
        return None

    def _track_end(self, tp: TP) -> None:
        """Report the end offset of a topic partition to Faust's monitor, which computes the consumer lag from it."""
        try:
            end = self.highwater(tp)
        except (AssertionError, IllegalStateError):
            return  # the partition has just been revoked
        if end is not None:
            self.app.monitor.track_tp_end_offset(tp, end)

    def _message(self, tp: TP, batch: RecordBatch) -> ConsumerMessage:
        """Return one Faust message for a whole batch, with the offset of the batch's last record."""
        last = batch.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            0,
            [],
            None,
            cast(Any, batch),  # Faust passes the value to the schema unchanged
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    # -- Faust's acknowledgements and commits, which the partitions' transactions replace ------------------------------

    def ack(self, message: Any) -> bool:
        """Mark a message as processed by an agent, and stop tracking it."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Return False without committing, because each partition commits its own transactions."""
        return False

    def note_committed(self, offsets: Mapping[TP, int]) -> None:
        """Report the offsets of a committed transaction to Faust's monitor and to its stall detector."""
        self._committed_offset.update(offsets)
        self._thread.tp_last_committed_at.update(dict.fromkeys(offsets, monotonic()))
        self.app.monitor.on_tp_commit(dict(offsets))

    # -- Faust's alarm for stalled partitions -------------------------------------------------------------------------

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Log an error if a partition has stalled, but only if it has been polled for longer than Faust's time limit.

        Faust calls this method for each assigned partition and measures the time from the worker's start. This would
        report changelogs, which are never fetched, and partitions being restored, which are not polled yet, as stalled.
        """
        task = self._partition_tasks.get(tp)
        if task is None or not task.is_open:
            return
        if now - self._polled_since[tp] >= self.app.conf.stream_processing_timeout:
            super().verify_event_path(now, tp)

    def _note_uncommitted(self, tp: TP, offset: int) -> None:
        """Restart the stall detector's clock if `offset` is the first uncommitted offset of the topic partition."""
        if self._committed_offset[tp] == offset:
            self._thread.tp_last_committed_at[tp] = monotonic()


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport, with `BatchConsumer` and `PartitionTransactions` instead of Faust's classes."""

    Consumer = BatchConsumer
    TransactionManager = PartitionTransactions
