"""The parts of a worker that Faust's application is made with: its table manager, and the partitions' committers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from faust.tables.manager import TableManager
from faust.types import TP

from streams.runtime.faust.supervisor import PartitionSupervisor
from streams.runtime.faust.transport import BatchConsumer
from streams.runtime.faust.worker import WorkerApp
from streams.runtime.partition.committer import KafkaTransactions
from streams.runtime.partition.pipeline import transactional_id
from streams.runtime.partition.producer import PartitionProducer
from streams.runtime.partition.rounds import Rounds
from streams.runtime.partition.shared_ids import SharedIds
from streams.runtime.partition.transaction import LARGEST_REQUEST_BYTES, PREPARED_BATCH_BYTES


class TransactionalTableManager(TableManager):
    """A Faust table manager that uses `PartitionSupervisor` as its recovery service."""

    _supervisor: PartitionSupervisor | None = None

    @property
    def recovery(self) -> PartitionSupervisor:  # type: ignore[override]  # replaces Faust's Recovery
        """The partition supervisor, which is created on first use."""
        if self._supervisor is None:
            app = cast(WorkerApp, self.app)
            self._supervisor = PartitionSupervisor(app, self, beacon=self.beacon, loop=self.loop)
            self._recovery = cast(Any, self._supervisor)  # Faust stops the service through this attribute
        return self._supervisor

    async def on_start(self) -> None:
        """Start the tables without the pause of one second that Faust's table manager makes."""
        await self._update_channels()
        await self.recovery.start()


def kafka_rounds(app: WorkerApp, name: str) -> Rounds:
    """Return the transactions that the partitions of a pipeline share in this worker."""

    def new_producer(transactional_id: str) -> PartitionProducer:
        return PartitionProducer(
            partition=None,
            **app.kafka_client,
            transactional_id=transactional_id,
            transaction_timeout_ms=app.transaction_timeout_ms,
            compression_type=app.output_compression,
            max_batch_size=PREPARED_BATCH_BYTES,
            max_request_size=LARGEST_REQUEST_BYTES,
        )

    ids = SharedIds(new_producer, lambda: f"{app.conf.id}-{name}")
    return Rounds(lambda: str(app.conf.id), ids, is_active=app.shared_transactions)


def kafka_transactions(
    app: WorkerApp, name: str, sources: Sequence[str], rounds: Rounds
) -> Callable[[int], KafkaTransactions]:
    """Return a function that creates a `KafkaTransactions` committer for a given partition number."""

    async def read_committed_offsets(number: int) -> Mapping[str, tuple[int | None, str]]:
        consumer = cast(BatchConsumer, app.consumer)
        found = await consumer.committed_offsets([TP(topic, number) for topic in sources])
        return {tp.topic: committed for tp, committed in found.items()}

    def new_committer(partition: int) -> KafkaTransactions:
        return KafkaTransactions(
            partition=partition,
            group=app.conf.id,
            transactional_id=transactional_id(app.conf.id, name, partition),
            transaction_timeout_ms=app.transaction_timeout_ms,
            compression=app.output_compression,
            client=app.kafka_client,
            read_committed_offsets=read_committed_offsets,
            rounds=rounds,
        )

    return new_committer
