"""Kafka's transactions in memory, and producers with the interface that the committers use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import ProducerFenced
from aiokafka.structs import OffsetAndMetadata, TopicPartition

Place = tuple[str, int]


@dataclass
class Transactions:
    """What Kafka keeps of a transactional id: its epoch, and the records and offsets of its open transaction."""

    epoch: int = 0
    records: list[tuple[Place, Any]] = field(default_factory=list)
    offsets: dict[Place, int] = field(default_factory=dict)


class MemoryKafka:
    """Committed records and offsets, and all transactional ids.

    Attributes:
        records: committed records, by topic and partition, in the order of their transactions.
        offsets: committed offsets, by topic and partition.
        ended: for each committed transaction, its id and the partitions that it wrote to.
        script: called with an id and a step (`initialise`, `send` or `end`); it may wait, or raise an error before the
            step is done.
        answers: the same, after the step.
    """

    def __init__(self) -> None:
        self.ids: dict[str, Transactions] = {}
        self.records: dict[Place, list[Any]] = {}
        self.offsets: dict[Place, int] = {}
        self.ended: list[tuple[str, set[int]]] = []
        self.initialised: list[str] = []
        self.script: Callable[[str, str], Any] = _go_on
        self.answers: Callable[[str, str], Any] = _go_on

    def producer(self, name: str) -> Any:
        """Make a producer for a transactional id."""
        return MemoryProducer(self, name)

    def initialise(self, name: str) -> int:
        """Abort what is open, and return the next epoch."""
        known = self.ids.setdefault(name, Transactions())
        self.ids[name] = Transactions(known.epoch + 1)
        self.initialised.append(name)
        return known.epoch + 1

    def end(self, name: str) -> None:
        """Commit the open transaction of an id."""
        ended = self.ids[name]
        self.ids[name] = Transactions(ended.epoch)
        for place, record in ended.records:
            self.records.setdefault(place, []).append(record)
        self.offsets |= ended.offsets
        self.ended.append((name, {number for (_, number), _ in ended.records} | {n for _, n in ended.offsets}))

    def values(self, topic: str) -> list[bytes]:
        """Return the values of all committed records of a topic, in the order of the partitions."""
        return [record.value for (name, _), each in sorted(self.records.items()) if name == topic for record in each]


async def _go_on(name: str, step: str) -> None:
    pass


class MemoryProducer:
    """A producer of a `MemoryKafka`, with the methods of `PartitionProducer` that are used."""

    failure = None

    def __init__(self, kafka: MemoryKafka, name: str) -> None:
        self.name = name
        self.unanswered: str | None = None
        self.is_stopped = False
        self._kafka = kafka
        self._epoch = 0

    async def initialise(self) -> None:
        """Begin a new epoch."""
        await self._kafka.script(self.name, "initialise")
        self._epoch = self._kafka.initialise(self.name)

    async def begin_transaction(self) -> None:
        """Begin a transaction; the first request that is sent opens it."""

    def _open(self) -> Transactions:
        known = self._kafka.ids[self.name]
        if known.epoch != self._epoch:
            raise ProducerFenced
        return known

    def add_offsets(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group: str) -> asyncio.Future[None]:
        """Send offsets."""

        async def send() -> None:
            await self._kafka.script(self.name, "send")
            self._open().offsets.update({(tp.topic, tp.partition): at.offset for tp, at in offsets.items()})

        sent = asyncio.ensure_future(send())
        sent.add_done_callback(lambda done: done.cancelled() or done.exception())
        return sent

    def create_batch(self) -> Any:
        """Make a batch, which takes any number of records."""
        records: list[Any] = []

        def append(**fields: Any) -> int:
            records.append(SimpleNamespace(**fields))
            return len(records)

        return SimpleNamespace(
            records=records,
            append=append,
            record_count=lambda: len(records),
            close=lambda: None,
        )

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Send records."""

        async def send() -> Any:
            await self._kafka.script(self.name, "send")
            known, place = self._open(), (topic, partition)
            known.records += [(place, record) for record in batch.records]
            return SimpleNamespace(offset=len(self._kafka.records.get(place, ())))

        return asyncio.ensure_future(send())

    async def commit_transaction(self) -> None:
        """End the transaction."""
        await self._kafka.script(self.name, "end")
        self._open()
        self._kafka.end(self.name)
        await self._kafka.answers(self.name, "end")

    async def stop(self) -> None:
        """Stop."""
        self.is_stopped = True
