"""Opens, closes and reopens the partitions that the consumer group assigns to this worker.

Stands in the place of Faust's recovery service, with its interface: Faust calls `on_rebalance` with every assignment.
Nothing long happens in that call: aiokafka sends no heartbeat until it returns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from aiokafka.structs import TopicPartition
from faust.tables.manager import TableManager
from faust.types import TP
from mode import Service
from mode.utils.locks import Event

from streams.runtime.changelog import Restoration, RestoreProgress, WriteFirst
from streams.runtime.committer import Committer, KafkaTransactions
from streams.runtime.opening import Opening
from streams.runtime.partition import Partition, PartitionState
from streams.runtime.store import PartitionStore
from streams.runtime.transport import BatchConsumer

if TYPE_CHECKING:
    from streams.runtime.app import BatchApp

log = logging.getLogger(__name__)

COMMIT_MARGIN_S: Final = 5.0


class PartitionSupervisor(Service):
    """The partitions of this worker, by number; also their host: what they need of the worker around them."""

    in_recovery = False

    def __init__(self, app: BatchApp, tables: TableManager, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.app = app
        self.tables = tables
        self.completed = Event()
        self.partitions: dict[int, Partition] = {}
        self._changing = asyncio.Lock()
        self._changes = 0

    # -- Faust's recovery interface -----------------------------------------------------------------------------------

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Faust's synchronous notice; the closing follows in `PartitionTransactions.on_partitions_revoked`."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Begin to open the assigned partitions and let the flow go on at once; each joins when it is open."""
        await self.close_partitions()
        log.info("generation %d begins", generation_id)
        self.add_future(self._open_assigned(assigned, self._changes))

    async def on_stop(self) -> None:
        """Hand over: finish the turns under way, close every partition."""
        await self.close_partitions()

    # -- opening and closing ------------------------------------------------------------------------------------------

    async def close_partitions(self) -> None:
        """Close all, at the same time, each within half the session timeout."""
        self._changes += 1
        async with self._changing:
            closing, self.partitions = self.partitions, {}
            timeout_s = self.app.conf.broker_session_timeout / 2
            await asyncio.gather(*[partition.close(timeout_s) for partition in closing.values()])

    async def _open_assigned(self, assigned: set[TP], change: int) -> None:
        """Open what was assigned, unless it was revoked again before this began."""
        await self.app.on_rebalance_complete.send()
        async with self._changing:
            if self._changes != change or self.should_stop:
                return
            numbers = self._numbers(assigned)
            await self._consumer.pause_client([tp for tp in assigned if tp.topic in self.tables.changelog_topics])
            if self._changes != change:
                return  # revoked meanwhile; whoever revoked waits for this lock
            self.partitions = {number: self._new_partition(number) for number in numbers}
            for partition in self.partitions.values():
                partition.start(self._on_crash)
        log.info("this worker has partitions %s", numbers)
        await self._resume_flow(assigned)

    def _numbers(self, assigned: set[TP]) -> list[int]:
        """The partition numbers assigned; every source topic and the changelog have to agree on them."""
        topics = [*self.app.source_topics, self.app.changelog_topic]
        by_topic = {topic: sorted(tp.partition for tp in assigned if tp.topic == topic) for topic in topics}
        first = by_topic[topics[0]]
        if any(numbers != first for numbers in by_topic.values()):
            raise PartitionsApartError(f"partitions that belong together were assigned apart: {by_topic}")
        return first

    def _new_partition(self, number: int) -> Partition:
        return Partition(
            number,
            host=self,
            table=self.app.state_table,
            flow=self.app.flow,
            stats=self.app.stats,
        )

    def _on_crash(self, error: BaseException) -> None:
        log.critical("a partition ended with an error that has no remedy here: %r", error, exc_info=error)
        self.add_future(self.app.crash(error))

    async def _resume_flow(self, assigned: set[TP]) -> None:
        """What Faust's recovery does at its end."""
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
        """Whether this worker has joined its group and processes every partition it was given."""
        joined = self.completed.is_set() and not self.app.rebalancing
        return joined and all(p.state is PartitionState.RUNNING for p in self.partitions.values())

    @property
    def _consumer(self) -> BatchConsumer:
        return cast(BatchConsumer, self.app.consumer)

    # -- the host of the partitions -----------------------------------------------------------------------------------

    @property
    def turn_max_records(self) -> int:
        """Records of one turn, all source topics together."""
        return self.app.batch_max_records

    @property
    def waiting_max_bytes(self) -> int:
        """Bytes that may wait in one partition before it is polled no more."""
        return self.app.waiting_max_bytes

    @property
    def fenced_wait_s(self) -> float:
        """How long a fenced partition waits for the group to take it away."""
        return 2.0 * float(self.app.conf.broker_session_timeout)

    @property
    def commit_timeout_s(self) -> float:
        """Bound of one transaction with its local write: by then Kafka has aborted it."""
        return self.app.transaction_timeout_ms / 1000 + COMMIT_MARGIN_S

    @property
    def changelog_topic(self) -> str:
        """The state table's changelog."""
        return self.app.changelog_topic

    def new_committer(self, partition: int) -> Committer:
        """A committer for one opening of a partition."""
        return self.app.committer_factory(self.app, partition)

    async def restore(
        self, partition: int, store: PartitionStore, progress: RestoreProgress, write_first: WriteFirst
    ) -> None:
        """Bring a store up to its changelog's end, with a log line now and then."""

        def report() -> None:
            rate = progress.records / progress.seconds if progress.seconds else 0.0
            log.info("restoring partition %d: %d offsets to go, %.0f records/s", partition, progress.remaining, rate)

        restoration = Restoration(
            store,
            TopicPartition(self.changelog_topic, partition),
            progress=progress,
            write_first=write_first,
            on_progress=report,
        )
        await restoration.run(self.app.kafka_client)

    async def seek(self, opening: Opening, offsets: Mapping[str, int | None]) -> Mapping[str, int]:
        """Have the consumer go on at committed offsets, at the earliest one where there is none."""
        tps = {TP(topic, opening.partition): offset for topic, offset in offsets.items()}
        begins = await self._consumer.begin_offsets(list(tps))
        for tp, offset in tps.items():
            if offset is not None and offset < begins[tp]:
                raise SourceTruncatedError(
                    f"{tp.topic}/{tp.partition} begins at {begins[tp]}, after the committed offset {offset}: "
                    "changes were deleted before they were processed"
                )
        starts = {tp: begins[tp] if offset is None else offset for tp, offset in tps.items()}
        self._consumer.begin_at(opening, starts)
        return {tp.topic: offset for tp, offset in starts.items()}

    def on_committed(self, partition: int, offsets: Mapping[str, int]) -> None:
        """Pass a committed turn's offsets to Faust's monitor."""
        self._consumer.note_committed({TP(topic, partition): offset for topic, offset in offsets.items()})

    def on_room(self) -> None:
        """Wake the consumer's loop."""
        self._consumer.note_room()


class SourceTruncatedError(Exception):
    """A source topic lost records that were not processed yet."""


class PartitionsApartError(Exception):
    """The source topics and the changelog do not share their partition numbers."""


class BatchTableManager(TableManager):
    """Faust's table manager with the partition supervisor as its recovery service."""

    _supervisor: PartitionSupervisor | None = None

    @property
    def recovery(self) -> PartitionSupervisor:  # type: ignore[override]  # stands in for Faust's Recovery
        """The supervisor."""
        if self._supervisor is None:
            app = cast("BatchApp", self.app)
            self._supervisor = PartitionSupervisor(app, self, beacon=self.beacon, loop=self.loop)
            self._recovery = cast(Any, self._supervisor)  # Faust stops it through this name
        return self._supervisor

    async def on_start(self) -> None:
        """Start without Faust's pause of a second."""
        await self._update_channels()
        await self.recovery.start()


def kafka_transactions(app: BatchApp, partition: int) -> KafkaTransactions:
    """The committer of an application that writes to Kafka."""

    async def read_committed_offsets(number: int) -> Mapping[str, int | None]:
        consumer = cast(BatchConsumer, app.consumer)
        found = await consumer.committed_offsets([TP(topic, number) for topic in app.source_topics])
        return {tp.topic: offset for tp, offset in found.items()}

    return KafkaTransactions(
        partition=partition,
        group=app.conf.id,
        transactional_id=f"{app.conf.id}-{app.state_table.name}-{partition}",
        transaction_timeout_ms=app.transaction_timeout_ms,
        client=app.kafka_client,
        read_committed_offsets=read_committed_offsets,
    )
