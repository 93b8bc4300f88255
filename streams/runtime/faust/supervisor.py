"""Opens, closes and reopens the partitions that the consumer group assigns to this worker.

The supervisor replaces Faust's recovery service, with the same interface: Faust calls `on_rebalance` with every
assignment. That call must be short, because aiokafka sends no heartbeats until it returns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from aiokafka.structs import TopicPartition
from faust.tables.manager import TableManager
from faust.types import TP
from mode import Service
from mode.utils.locks import Event

from streams.runtime.faust.transport import BatchConsumer
from streams.runtime.faust.worker import WorkerApp
from streams.runtime.partition.committer import KafkaTransactions
from streams.runtime.partition.lifecycle import Partition, PartitionState
from streams.runtime.partition.pipeline import Pipeline, transactional_id
from streams.runtime.partition.standby import Standby
from streams.runtime.partition.task import PartitionTask
from streams.runtime.state.changelog import Restoration, RestoreProgress, WriteFirst, earliest_offsets
from streams.runtime.state.store import Entry, PartitionStore

log = logging.getLogger(__name__)

COMMIT_MARGIN_S: Final = 5.0


class PartitionSupervisor(Service):
    """Manages the partitions of this worker, and is their `Host`: the interface through which they use the worker.

    Attributes:
        partitions: the partitions that this worker processes.
        standbys: local copies of the states of partitions that other workers own.
    """

    in_recovery = False

    def __init__(self, app: WorkerApp, tables: TableManager, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.app = app
        self.tables = tables
        self.completed = Event()
        self.partitions: list[Partition] = []
        self.standbys: list[Standby] = []
        self._changing = asyncio.Lock()
        self._changes = 0

    # -- Faust's recovery interface -----------------------------------------------------------------------------------

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Do nothing: partitions are closed in `PartitionTransactions.on_partitions_revoked`."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Start opening the assigned partitions, and resume polling at once; each is polled as soon as it is open."""
        await self.close_partitions()
        log.info("generation %d begins", generation_id)
        self.add_future(self._open_assigned(assigned, self._changes))

    async def on_stop(self) -> None:
        """Finish the turns in progress and close every partition."""
        await self.close_partitions()

    # -- opening and closing ------------------------------------------------------------------------------------------

    async def close_partitions(self) -> None:
        """Close all partitions concurrently, each within half the session timeout."""
        self._changes += 1
        async with self._changing:
            closing, self.partitions = self.partitions, []
            following, self.standbys = self.standbys, []
            timeout_s = self.app.conf.broker_session_timeout / 2
            await asyncio.gather(
                *[partition.close(timeout_s) for partition in closing],
                *[standby.close() for standby in following],
            )

    async def _open_assigned(self, assigned: set[TP], change: int) -> None:
        """Open the assigned partitions, unless they were revoked again before this began."""
        await self.app.on_rebalance_complete.send()
        async with self._changing:
            if self._changes != change or self.should_stop:
                return
            await self._consumer.pause_client([tp for tp in assigned if tp.topic in self.tables.changelog_topics])
            if self._changes != change:
                return  # revoked meanwhile; the revoking call waits for this lock
            for pipeline in self.app.pipelines:
                self._start(pipeline, assigned)
        log.info("partitions of this worker: %s", [partition.name for partition in self.partitions])
        await self._resume_flow(assigned)

    def _start(self, pipeline: Pipeline, assigned: set[TP]) -> None:
        numbers, standby_numbers = pipeline.numbers(assigned)
        for number in numbers:
            partition = Partition(number, pipeline=pipeline, host=self, stats=self.app.stats)
            self.partitions.append(partition)
            partition.start(self._on_crash)
        for number in standby_numbers:
            standby = Standby(number, pipeline=pipeline, follow=self.follow)
            self.standbys.append(standby)
            standby.start(self._on_crash)

    def _on_crash(self, error: BaseException) -> None:
        log.critical("partition failed with an unrecoverable error, stopping the worker: %r", error, exc_info=error)
        self.add_future(self.app.crash(error))

    async def _resume_flow(self, assigned: set[TP]) -> None:
        """Do what Faust's recovery does at its end, which lets Faust deliver events."""
        app, consumer = self.app, self._consumer
        consumer.resume_partitions({tp for tp in assigned if tp.topic not in self.tables.changelog_topics})
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_flow()
        await cast(Any, app)._fetcher.maybe_start()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()

    @property
    def is_ready(self) -> bool:
        """Whether this worker has joined its group and is processing all partitions assigned to it."""
        joined = self.completed.is_set() and not self.app.rebalancing
        return joined and all(p.state is PartitionState.RUNNING for p in self.partitions)

    async def commit_group_offsets(self, offsets: Mapping[TP, int]) -> None:
        """Commit offsets for observers of the group; the partitions do not resume from them."""
        await self._consumer.commit_group_offsets(offsets)

    async def group_offset(self, tp: TP) -> int | None:
        """Offset that the group has committed for a topic partition, None without one."""
        return (await self._consumer.committed_offsets([tp]))[tp]

    async def lag(self) -> Mapping[TP, int]:
        """Number of unprocessed records by source topic partition: those waiting here and those not polled yet."""
        waiting = {
            TP(topic, partition.number): partition.task.queue.records_of(topic)
            for partition in self.partitions
            for topic in partition.pipeline.sources
        }
        behind = await self._consumer.behind(list(waiting)) if waiting else {}
        return {tp: records + behind.get(tp, 0) for tp, records in waiting.items()}

    @property
    def _consumer(self) -> BatchConsumer:
        return cast(BatchConsumer, self.app.consumer)

    # -- the host of the partitions -----------------------------------------------------------------------------------

    @property
    def turn_max_records(self) -> int:
        """Maximum number of records of one turn, all source topics together."""
        return self.app.batch_max_records

    @property
    def waiting_max_bytes(self) -> int:
        """Number of waiting bytes of one partition at which polling it stops."""
        return self.app.waiting_max_bytes

    @property
    def fenced_wait_s(self) -> float:
        """Time that a fenced partition waits for the group to revoke it."""
        return 2.0 * float(self.app.conf.broker_session_timeout)

    @property
    def commit_timeout_s(self) -> float:
        """Longest time of one transaction and its local write; by then Kafka has aborted the transaction."""
        return self.app.transaction_timeout_ms / 1000 + COMMIT_MARGIN_S

    async def restore(
        self,
        pipeline: Pipeline,
        partition: int,
        store: PartitionStore,
        progress: RestoreProgress,
        write_first: WriteFirst,
    ) -> Sequence[Entry]:
        """Restore a store up to its changelog's end, and log the progress; return its newest entries."""
        restoration = self._restoration(pipeline, partition, store, progress, write_first)
        await restoration.run(self.app.kafka_client)
        return list(restoration.recent)

    async def follow(
        self, pipeline: Pipeline, partition: int, store: PartitionStore, progress: RestoreProgress
    ) -> None:
        """Keep a standby's store up to date with its changelog."""
        await self._restoration(pipeline, partition, store, progress, None).follow(self.app.kafka_client)

    def _restoration(
        self,
        pipeline: Pipeline,
        partition: int,
        store: PartitionStore,
        progress: RestoreProgress,
        write_first: WriteFirst | None,
    ) -> Restoration:
        assert pipeline.table is not None
        assert pipeline.changelog is not None
        name = f"{pipeline.name}/{partition}"

        def report() -> None:
            rate = progress.records / progress.seconds if progress.seconds else 0.0
            log.info("restoring %s: %d offsets left, %.0f records/s", name, progress.remaining, rate)

        return Restoration(
            store,
            TopicPartition(pipeline.changelog, partition),
            pipeline.table.codec,
            changelog_delete_retention_s=self.app.changelog_delete_retention_s,
            progress=progress,
            write_first=write_first,
            on_progress=report,
        )

    async def seek(self, task: PartitionTask, offsets: Mapping[str, int | None]) -> Mapping[str, int]:
        """Make the consumer resume at the committed offsets, or at the earliest ones where none are committed."""
        tps = {TP(topic, task.partition): offset for topic, offset in offsets.items()}
        found = await earliest_offsets(self.app.kafka_client, [TopicPartition(*tp) for tp in tps])
        begins = {tp: found[TopicPartition(*tp)] for tp in tps}
        for tp, offset in tps.items():
            if offset is not None and offset < begins[tp]:
                raise SourceTruncatedError(
                    f"{tp.topic}/{tp.partition} begins at {begins[tp]}, after the committed offset {offset}: "
                    "changes were deleted before this application processed them"
                )
        starts = {tp: begins[tp] if offset is None else offset for tp, offset in tps.items()}
        self._consumer.begin_at(task, starts)
        return {tp.topic: offset for tp, offset in starts.items()}

    def on_committed(self, partition: int, offsets: Mapping[str, int]) -> None:
        """Pass a committed turn's offsets to Faust's monitor."""
        self._consumer.note_committed({TP(topic, partition): offset for topic, offset in offsets.items()})

    def on_room(self) -> None:
        """Wake the consumer's loop, because a queue has room again."""
        self._consumer.note_room()


class SourceTruncatedError(Exception):
    """A source topic lost records that were not processed yet."""


class TransactionalTableManager(TableManager):
    """Faust's table manager with the partition supervisor as its recovery service."""

    _supervisor: PartitionSupervisor | None = None

    @property
    def recovery(self) -> PartitionSupervisor:  # type: ignore[override]  # stands in for Faust's Recovery
        """The partition supervisor."""
        if self._supervisor is None:
            app = cast(WorkerApp, self.app)
            self._supervisor = PartitionSupervisor(app, self, beacon=self.beacon, loop=self.loop)
            self._recovery = cast(Any, self._supervisor)  # Faust stops it through this name
        return self._supervisor

    async def on_start(self) -> None:
        """Start without Faust's pause of one second."""
        await self._update_channels()
        await self.recovery.start()


def kafka_transactions(app: WorkerApp, name: str, sources: Sequence[str]) -> Callable[[int], KafkaTransactions]:
    """Return a function that makes a partition's committer, given its number, for pipelines that write to Kafka."""

    async def read_committed_offsets(number: int) -> Mapping[str, int | None]:
        consumer = cast(BatchConsumer, app.consumer)
        found = await consumer.committed_offsets([TP(topic, number) for topic in sources])
        return {tp.topic: offset for tp, offset in found.items()}

    def new_committer(partition: int) -> KafkaTransactions:
        return KafkaTransactions(
            partition=partition,
            group=app.conf.id,
            transactional_id=transactional_id(app.conf.id, name, partition),
            transaction_timeout_ms=app.transaction_timeout_ms,
            client=app.kafka_client,
            read_committed_offsets=read_committed_offsets,
        )

    return new_committer
