"""Move the committed offset of a stopped application past source records, and keep what is skipped as a dead letter.

Each application keeps its offsets in another place, and the dead letter is written before or together with them:

- `streams.orders`: one Kafka transaction of the partition's own transactional id writes both, and the topic's id to the
  changelog. The next owner of the partition reads all of them, whatever its local store contains.
- `streams.lookups` and `streams.metrics`: the dead letter goes to Kafka, then the offset and the topic's id to Redis.
- `streams.warehouse`: the same, with the offset in the warehouse.
- `streams.archive`: the dead letter goes to Kafka, then an object without records fills the gap in the chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

import aiokafka
from aiokafka.structs import TopicPartition
from faust.types import TP

from ops.shared_ids import named_ids
from stack.errors import StackError
from streams.adapters.object_store import ObjectStore
from streams.model.archive_chain import object_metadata, object_name
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.faust.consumer_thread import committed
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.committer import Committer, KafkaTransactions
from streams.runtime.partition.pipeline import transactional_id
from streams.runtime.partition.producer import PartitionProducer
from streams.runtime.partition.shared_ids import SharedIds
from streams.runtime.partition.sources import source_records
from streams.runtime.partition.transaction import LARGEST_REQUEST_BYTES
from streams.runtime.stats import RuntimeStats
from streams.topics import order_state_changelog
from tables import order_state
from tables.archive.committer import ArchiveSink
from tables.archive.rows import Rows

TRANSACTION_TIMEOUT_MS = 10_000


class StoppedApplication:
    """An application without workers, as far as a sink uses it: its id, Kafka, and its group's offsets.

    Attributes:
        stats: what a sink counts; nobody reads it.
    """

    def __init__(self, app_id: str, kafka_client: Mapping[str, Any], *, output_compression: str | None) -> None:
        self.id = app_id
        self.kafka_client = dict(kafka_client)
        self.output_compression = output_compression
        self.stats = RuntimeStats()

    @property
    def conf(self) -> StoppedApplication:
        """The configuration, which has the id only."""
        return self

    @property
    def partition_supervisor(self) -> StoppedApplication:
        """The object that reads and commits the group's offsets."""
        return self

    async def group_offset(self, tp: TP) -> int | None:
        """Return the offset that the group has committed, or None."""
        return (await self.group_commit(tp))[0]

    async def group_commit(self, tp: TP) -> tuple[int | None, str]:
        """Return the offset that the group has committed, or None, and the text with it."""
        async with _group_consumer(self) as consumer:
            return (await committed(consumer, [tp]))[tp]

    async def commit_group_offsets(self, offsets: Mapping[TP, int]) -> None:
        """Commit offsets to the group."""
        async with _group_consumer(self) as consumer:
            consumer.assign([TopicPartition(*tp) for tp in offsets])
            await consumer.commit({TopicPartition(*tp): offset for tp, offset in offsets.items()})

    async def write(self, letter: OutputRecord, partition: int) -> None:
        """Write a dead letter."""
        producer = aiokafka.AIOKafkaProducer(
            **self.kafka_client,
            enable_idempotence=True,
            compression_type=self.output_compression,
            max_request_size=LARGEST_REQUEST_BYTES,
        )
        async with producer:
            headers = list(letter.headers)
            await producer.send_and_wait(letter.topic, letter.value, letter.key, partition, headers=headers)


def _group_consumer(app: StoppedApplication) -> aiokafka.AIOKafkaConsumer:
    return aiokafka.AIOKafkaConsumer(**app.kafka_client, group_id=app.id, enable_auto_commit=False)


class Position(Protocol):
    """The place where an application keeps the offset of one topic partition."""

    async def offset(self) -> int | None:
        """Return the next offset to process, None if there is none."""

    async def move(self, letter: OutputRecord, offset: int, topic_id: str | None) -> None:
        """Write the dead letter and move to `offset` of the topic with this id; None keeps the known id."""

    async def close(self) -> None:
        """Close all connections."""


class OrdersPosition:
    """An offset of `streams.orders`, which commits offsets in the partition's transactions."""

    def __init__(self, app: StoppedApplication, tp: TP) -> None:
        self._app = app
        self._tp = tp
        self._committer = KafkaTransactions(
            partition=tp.partition,
            group=app.id,
            transactional_id=transactional_id(app.id, order_state.NAME, tp.partition),
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            compression=app.output_compression,
            client=app.kafka_client,
            read_committed_offsets=self._read,
        )
        self._ids = SharedIds(self._producer, lambda: app.id)
        self._is_open = False

    def _producer(self, transactional_id: str) -> PartitionProducer:
        return PartitionProducer(
            partition=None,
            **self._app.kafka_client,
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        )

    async def _read(self, partition: int) -> Mapping[str, tuple[int | None, str]]:
        return {self._tp.topic: await self._app.group_commit(self._tp)}

    async def offset(self) -> int | None:
        """Fence all former owners, and return the committed offset."""
        self._is_open = True
        await self._committer.open()
        for name in await named_ids(self._app.kafka_client, order_state_changelog(self._app.id)):
            await self._ids.end(name)
        return (await self._committer.committed())[self._tp.topic]

    async def move(self, letter: OutputRecord, offset: int, topic_id: str | None) -> None:
        """Write the dead letter, the offset and the topic's id in one transaction."""
        ids = {} if topic_id is None else {self._tp.topic: topic_id}
        marks = source_records(order_state_changelog(self._app.id), order_state.CODEC, ids)
        await self._committer.commit([letter, *marks], {self._tp.topic: offset})

    async def close(self) -> None:
        """Close the producer."""
        if self._is_open:
            await self._committer.close()


class Sink(Protocol):
    """What a position needs of the sink of an application."""

    async def on_shutdown(self) -> None: ...


class SinkPosition:
    """An offset that an application stores beside its content, in Redis or in the warehouse."""

    def __init__(self, topic: str, sink: Sink, committer: Committer) -> None:
        self._topic = topic
        self._sink = sink
        self._committer = committer

    async def offset(self) -> int | None:
        """Shut out former owners, and return the stored offset."""
        await self._committer.open()
        return (await self._committer.committed())[self._topic]

    async def move(self, letter: OutputRecord, offset: int, topic_id: str | None) -> None:
        """Write the dead letter to Kafka, then store the offset and the topic's id."""
        await self._committer.commit([letter], {self._topic: offset})
        if topic_id is not None:
            await self._committer.keep_source_ids({self._topic: topic_id})

    async def close(self) -> None:
        """Close the connections to Kafka and to the sink's server."""
        await self._sink.on_shutdown()


class ArchivePosition:
    """An offset of `streams.archive`: the end of the chain of objects."""

    def __init__(self, app: StoppedApplication, tp: TP, store: ObjectStore, prefix: str) -> None:
        self._app = app
        self._tp = tp
        self._sink = ArchiveSink(store, cast(TransactionalApp, app), prefix=prefix, flush_bytes=1, flush_s=1.0)
        self._committer = self._sink.committers(tp.topic)(tp.partition)
        self._start = 0

    async def offset(self) -> int | None:
        """Follow the chain to its end."""
        found = (await self._committer.committed())[self._tp.topic]
        self._start = found or 0
        return found

    async def move(self, letter: OutputRecord, offset: int, topic_id: str | None) -> None:
        """Write the dead letter to Kafka, then an object without records up to the offset.

        Raises:
            StackError: the chain would have to go back, or a worker has continued it in the meantime.
        """
        known = (await self._committer.source_ids()).get(self._tp.topic)
        if offset <= self._start or (topic_id is not None and known not in (None, topic_id)):
            raise StackError(
                f"the archive of {self._tp.topic} has records of the former topic up to offset {self._start}, and "
                "cannot hold two topics of one name: see docs/operate/runbooks/source-topic-changed.md"
            )
        await self._app.write(letter, self._tp.partition)
        name = self._sink.prefix + object_name(*self._tp, self._start)
        if (
            await self._sink.store.put_new(name, Rows().file(), object_metadata(offset - 1, 0, topic_id or known))
            is None
        ):
            raise StackError(f"another process has just archived records of {self._tp.topic}: run the command again")
        await self._app.commit_group_offsets({self._tp: offset})

    async def close(self) -> None:
        """Close the connections to the object storage."""
        await self._sink.on_shutdown()
