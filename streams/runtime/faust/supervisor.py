"""Supervision of the partitions that the consumer group assigns to this worker.

`PartitionSupervisor` replaces Faust's recovery service and has the same interface: Faust calls `on_rebalance` with each
new assignment. The call must return quickly, because aiokafka sends no heartbeats until then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, cast

from aiokafka.structs import TopicPartition
from faust.tables.manager import TableManager
from faust.types import TP
from mode import Service
from mode.utils.locks import Event

from streams.runtime.faust.loop_watch import LoopWatch
from streams.runtime.faust.source_offsets import SourceOffsets
from streams.runtime.faust.source_topics import describe_sources
from streams.runtime.faust.source_watch import SourceWatch
from streams.runtime.faust.transport import BatchConsumer
from streams.runtime.faust.worker import WorkerApp
from streams.runtime.partition.gate import RESTORATION_SLOT_S, RESTORATIONS_AT_A_TIME, Gate
from streams.runtime.partition.host import PolledTask
from streams.runtime.partition.lifecycle import Partition, PartitionState
from streams.runtime.partition.pipeline import Pipeline, StateTable
from streams.runtime.partition.sources import RUNBOOK, Source
from streams.runtime.partition.standby import Standby
from streams.runtime.state.changelog import Restoration, RestoreProgress, WriteFirst
from streams.runtime.state.store import Entry, PartitionStore

log = logging.getLogger(__name__)

COMMIT_MARGIN_S: Final = 5.0


class PartitionSupervisor(Service):
    """A service that opens and closes this worker's partitions, and is the `Host` of their partition tasks.

    Attributes:
        partitions: the partitions that this worker processes.
        standbys: local copies of the state of partitions that other workers own.
        offsets: the ends of the source partitions.
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
        self._generation = -1
        self._restorations = Gate(RESTORATIONS_AT_A_TIME, RESTORATION_SLOT_S)
        self.offsets = SourceOffsets(app, lambda: self.partitions, beacon=self.beacon)
        self.add_dependency(self.offsets)
        self.add_dependency(LoopWatch(app.stats, beacon=self.beacon))
        self.add_dependency(SourceWatch(app, lambda: self.partitions))

    # -- Faust's recovery interface -----------------------------------------------------------------------------------

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Do nothing, because `PartitionTransactions.on_partitions_revoked` closes the partitions."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Start opening the assigned partitions, without waiting until they are open."""
        await self.close_partitions()
        self._generation = generation_id
        log.info("consumer group generation %d begins", generation_id)
        self.add_future(self._open_assigned(assigned, self._changes))

    async def on_stop(self) -> None:
        """Finish the turns (micro-batches) in progress, and close all partitions and their stores."""
        await self.close_partitions()
        await asyncio.gather(*[table.stores.close_kept() for table in self._tables()])

    # -- opening and closing ------------------------------------------------------------------------------------------

    async def close_partitions(self) -> None:
        """Close all partitions and standbys concurrently; a partition may take up to half the session timeout.

        Their stores stay open until it is known which partitions stay in this worker.
        """
        self._changes += 1
        async with self._changing:
            closing, self.partitions = self.partitions, []
            following, self.standbys = self.standbys, []
            timeout_s = self.app.conf.broker_session_timeout / 2
            await asyncio.gather(
                *[partition.close(timeout_s) for partition in closing],
                *[standby.close() for standby in following],
            )
            await asyncio.gather(*[each.rounds.close() for each in self.app.pipelines if each.rounds is not None])

    async def _open_assigned(self, assigned: set[TP], change: int) -> None:
        """Start the assigned partitions and standbys, unless they have been revoked in the meantime."""
        await self.app.on_rebalance_complete.send()
        async with self._changing:
            if self._changes != change or self.should_stop:
                return
            await self._consumer.pause_client([tp for tp in assigned if tp.topic in self.tables.changelog_topics])
            if self._changes != change:
                return  # revoked in the meantime; `close_partitions` waits for this lock
            for pipeline in self.app.pipelines:
                self._start(pipeline, assigned)
            for table in self._tables():
                self.add_future(table.stores.close_kept(besides=_numbers(assigned, table.changelog_name)))
        log.info("partitions assigned to this worker: %s", [partition.name for partition in self.partitions])
        await self._resume_flow(assigned)

    def _start(self, pipeline: Pipeline, assigned: set[TP]) -> None:
        numbers, standby_numbers = pipeline.numbers(assigned)
        for number in numbers:
            partition = Partition(number, pipeline=pipeline, host=self, stats=self.app.stats)
            self.partitions.append(partition)
            partition.start(self._on_crash)
        for number in standby_numbers:
            standby = Standby(number, pipeline=pipeline, follow=self.follow, stats=self.app.stats)
            self.standbys.append(standby)
            standby.start(self._on_crash)

    def _tables(self) -> list[StateTable]:
        return [pipeline.table for pipeline in self.app.pipelines if pipeline.table is not None]

    def _on_crash(self, error: BaseException) -> None:
        log.critical(
            "a partition failed with an unrecoverable error; stopping the worker: %r. If a source record is the cause, "
            "`millrace topics skip` steps over it (%s)",
            error,
            RUNBOOK,
            exc_info=error,
        )
        self.add_future(self.app.crash(error))

    async def _resume_flow(self, assigned: set[TP]) -> None:
        """Resume event delivery, with the same calls that Faust's own recovery makes on completion."""
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
        """Commit offsets to the consumer group for monitoring only; partitions do not resume from these offsets."""
        await self._consumer.commit_group_offsets(offsets)

    async def group_offset(self, tp: TP) -> int | None:
        """Return the offset that the consumer group has committed for a topic partition; None if there is none."""
        return (await self._consumer.committed_offsets([tp]))[tp][0]

    @property
    def _consumer(self) -> BatchConsumer:
        return cast(BatchConsumer, self.app.consumer)

    # -- `Host` interface for the partition tasks ---------------------------------------------------------------------

    @property
    def app_id(self) -> str:
        """Id of the application, which is also its consumer group."""
        return str(self.app.conf.id)

    @property
    def turn_max_records(self) -> int:
        """Maximum number of records in one turn (micro-batch), all source topics together."""
        return self.app.batch_max_records

    @property
    def waiting_max_bytes(self) -> int:
        """Size of a partition's waiting batches, in bytes, at which polling of the partition pauses."""
        return self.app.waiting_max_bytes

    @property
    def fenced_wait_s(self) -> float:
        """Seconds to wait before reopening a partition that was fenced several times in a row."""
        return 2.0 * float(self.app.conf.broker_session_timeout)

    async def confirm_ownership(self) -> None:
        """Wait until the group confirms that this worker is a member of the generation that assigned its partitions.

        Without that, the partitions are about to be revoked, which cancels the call, or the group does not answer.
        """
        generation = self._generation
        while not await self._consumer.is_member(generation):
            await self.sleep(self.app.conf.broker_heartbeat_interval)

    @property
    def commit_timeout_s(self) -> float:
        """Time limit in seconds for a transaction and its local write; by then, Kafka has aborted the transaction."""
        return self.app.transaction_timeout_ms / 1000 + COMMIT_MARGIN_S

    async def restore(
        self,
        pipeline: Pipeline,
        partition: int,
        store: PartitionStore,
        progress: RestoreProgress,
        write_first: WriteFirst,
    ) -> Sequence[Entry]:
        """Restore a store up to the current end of its changelog; return the newest changelog entries."""
        restoration = self._restoration(pipeline, partition, store, progress, write_first)
        await restoration.run(self.app.kafka_client)
        return list(restoration.recent)

    async def follow(
        self, pipeline: Pipeline, partition: int, store: PartitionStore, progress: RestoreProgress
    ) -> None:
        """Keep a standby's store up to date with its changelog until cancelled."""
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
            log.info("restoring partition %s: %d offsets left, %.0f records/s", name, progress.remaining, rate)

        return Restoration(
            store,
            TopicPartition(pipeline.changelog, partition),
            pipeline.table.codec,
            changelog_delete_retention_s=self.app.changelog_delete_retention_s,
            progress=progress,
            write_first=write_first,
            on_progress=report,
            admitted=lambda: self._restorations.admitted(lambda: float(write_first is None)),  # standbys come last
        )

    async def sources(self, partition: int, topics: Collection[str]) -> Mapping[str, Source]:
        """Return the id, the first offset and the end offset of a partition of each source topic."""
        return await describe_sources(self.app.kafka_client, partition, topics)

    async def seek(self, task: PolledTask, offsets: Mapping[str, int]) -> None:
        """Start polling each source topic at the given offset, on behalf of `task`."""
        self._consumer.begin_at(task, {TP(topic, task.partition): offset for topic, offset in offsets.items()})

    def on_committed(self, partition: int, offsets: Mapping[str, int]) -> None:
        """Report the source offsets of a committed turn (micro-batch) to Faust's monitor."""
        self._consumer.note_committed({TP(topic, partition): offset for topic, offset in offsets.items()})

    def on_room(self) -> None:
        """Wake the consumer's polling loop, because a partition's queue has room again."""
        self._consumer.note_room()


def _numbers(assigned: set[TP], topic: str) -> set[int]:
    return {tp.partition for tp in assigned if tp.topic == topic}
