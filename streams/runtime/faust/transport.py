"""Faust's Kafka transport, with a consumer that delivers batches, and without Faust's own commits.

`tests/unit/runtime/test_faust_canary.py` lists the private names of faust-streaming 0.15.3 that this module overrides
or uses, and fails when a new version changes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from time import monotonic
from typing import Any, Final, cast

from aiokafka.errors import IllegalStateError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams.runtime.faust.fetched import FetchedRecord, use_lean_records
from streams.runtime.faust.transactions import PartitionTransactions
from streams.runtime.faust.worker import WorkerApp
from streams.runtime.partition.batch import RecordBatch
from streams.runtime.partition.task import PartitionTask

log = logging.getLogger(__name__)

POLL_S: Final = 0.2
"""Longest wait of one poll, and so the longest delay before another partition seeks."""

CROWDED_POLL_S: Final = 0.01
"""Longest wait of one poll while a partition has no room, as it may have room again at any moment."""


BATCH_RECORDS: Final = 500
"""Maximum number of records per batch. A turn (micro-batch) takes whole batches; smaller ones let it choose more finely
among the topics."""

LONG_POLL_MS: Final = 100
"""Longest time that the broker may hold a fetch without data; arriving data ends the fetch at once. A partition that
opens meanwhile waits for the fetch to end, and Faust's 1.5 s would be most of a failover."""


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, with a client whose fetches return sooner and cost less."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        use_lean_records()
        client = super()._create_worker_consumer(transport)
        client._fetch_max_wait_ms = LONG_POLL_MS  # Faust fixes it, and aiokafka has no setter
        return client


class BatchConsumer(driver.Consumer):
    """Polls the open partitions that have room and delivers their records as batches.

    One loop both polls and seeks, so that a record polled before a seek is never mistaken for one polled after it.
    """

    app: WorkerApp

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._partition_tasks: dict[TP, PartitionTask] = {}
        self._seeks: dict[TP, tuple[PartitionTask, int]] = {}
        self._polled_since: dict[TP, float] = {}
        self._room = asyncio.Event()

    def _new_consumer_thread(self) -> Any:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- used by the supervisor ---------------------------------------------------------------------------------------

    def begin_at(self, task: PartitionTask, offsets: Mapping[TP, int]) -> None:
        """Poll topic partitions for `task`, starting at these offsets."""
        for tp, offset in offsets.items():
            self._seeks[tp] = (task, offset)
        self._room.set()

    def note_room(self) -> None:
        """Wake the loop: a partition has taken batches from its queue, so it may have room for a poll."""
        self._room.set()

    async def committed_offsets(self, tps: Sequence[TP]) -> Mapping[TP, int | None]:
        """Offset that the group has committed for each topic partition, None without one."""
        client = self._thread._ensure_consumer()
        found: dict[TP, int | None] = {}
        for tp in tps:
            found[tp] = await self._thread.call_thread(client.committed, TopicPartition(tp.topic, tp.partition))
        return found

    async def commit_group_offsets(self, offsets: Mapping[TP, int]) -> None:
        """Commit offsets for a partition whose sink keeps the authoritative ones elsewhere.

        Raises:
            KafkaError: the group did not accept them, for example during a rebalance.
        """
        client = self._thread._ensure_consumer()
        places = {TopicPartition(tp.topic, tp.partition): offset for tp, offset in offsets.items()}
        await self._thread.call_thread(client.commit, places)

    async def behind(self, tps: Sequence[TP]) -> Mapping[TP, int]:
        """Number of offsets between the consumer's position and the end of each topic partition.

        Transaction markers count if data follows them; markers at the end do not.
        """
        client = self._thread._ensure_consumer()

        async def look() -> dict[TP, int]:
            found: dict[TP, int] = {}
            assigned = client.assignment()
            for tp in tps:
                if tp not in assigned:
                    continue
                end = client.last_stable_offset(TopicPartition(tp.topic, tp.partition))
                if end is not None:
                    found[tp] = max(0, end - await client.position(TopicPartition(tp.topic, tp.partition)))
            return found

        return cast(Mapping[TP, int], await self._thread.call_thread(look))

    async def pause_client(self, tps: Sequence[TP]) -> None:
        """Stop fetching topic partitions that are assigned only so that Faust can route requests by them."""
        client = self._thread._ensure_consumer()

        async def pause() -> None:
            # Looked up in the client's own thread: the group may have revoked some meanwhile.
            assigned = client.assignment()
            client.pause(*[TopicPartition(tp.topic, tp.partition) for tp in tps if tp in assigned])

        await self._thread.call_thread(pause)

    # -- the loop -----------------------------------------------------------------------------------------------------

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
            return  # every partition of the new generation seeks before it is polled
        for tp, records in polled.items():
            await self._hand_over(TP(tp.topic, tp.partition), records)
        is_all = sum(map(len, polled.values())) < self.app.conf.broker_max_poll_records
        await self._look_for_more(polled if is_all else ())

    async def _look_for_more(self, polled: Collection[TopicPartition]) -> None:
        """Update how many records follow, for the topics that were polled and those without a waiting batch.

        A number older than one poll would make turns wait for records that have arrived already. After a full poll
        more records certainly follow, so nothing is asked. A partition with a single topic waits for no other topic.
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
            # As above. A revoked partition needs no seek: its next owner opens it again.
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
            self._note_uncommitted(tp, from_offset)
            batch = RecordBatch(tp.topic, tp.partition, from_offset, records[begin : begin + size], task)
            self._read_offset[tp] = batch.next_offset
            task.queue.polled(batch)
            await self.wait_first(self.callback(self._message(tp, batch)), self.suspend_flow.wait())
        self._track_end(tp)

    def _track_end(self, tp: TP) -> None:
        """Report the end of the topic partition to Faust's monitor, which computes the partition's lag from it."""
        try:
            end = self.highwater(tp)
        except (AssertionError, IllegalStateError):
            return  # the group has just revoked it
        if end is not None:
            self.app.monitor.track_tp_end_offset(tp, end)

    def _message(self, tp: TP, batch: RecordBatch) -> ConsumerMessage:
        """Return one message for a whole batch, with the offset of the batch's last record."""
        last = batch.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            0,
            [],
            None,
            cast(Any, batch),  # Faust passes the value through to the schema untouched
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    # -- Faust's acknowledgements and commits: the partitions' transactions commit ------------------------------------

    def ack(self, message: Any) -> bool:
        """Forget a message that an agent has processed."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit nothing: each partition commits its own transactions."""
        return False

    def note_committed(self, offsets: Mapping[TP, int]) -> None:
        """Report the offsets of a committed transaction to Faust's monitor and its stall detector."""
        self._committed_offset.update(offsets)
        self._thread.tp_last_committed_at.update(dict.fromkeys(offsets, monotonic()))
        self.app.monitor.on_tp_commit(dict(offsets))

    # -- Faust's alarm for stalled partitions -------------------------------------------------------------------------

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Log an error if a partition has stalled, once it has been polled for longer than Faust's limit.

        Faust asks for every assigned partition and counts from the worker's start. Changelogs are assigned but never
        fetched, and partitions are not polled while they are restored: neither is stalled.
        """
        task = self._partition_tasks.get(tp)
        if task is None or not task.is_open:
            return
        if now - self._polled_since[tp] >= self.app.conf.stream_processing_timeout:
            super().verify_event_path(now, tp)

    def _note_uncommitted(self, tp: TP, offset: int) -> None:
        """Measure the time without a commit from the first uncommitted record, not from the last commit."""
        if self._committed_offset[tp] == offset:
            self._thread.tp_last_committed_at[tp] = monotonic()


class BatchTransport(driver.Transport):
    """The aiokafka transport with the classes of this module."""

    Consumer = BatchConsumer
    TransactionManager = PartitionTransactions
