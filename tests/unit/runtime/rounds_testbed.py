"""Testbed of the rounds: workers with real rounds and committers over transactions in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.committer import KafkaTransactions
from streams.runtime.partition.rounds import Rounds
from streams.runtime.partition.shared_ids import SharedIds
from tests.support.async_waiting import LIVENESS_S, until
from tests.support.transactions_in_memory import MemoryKafka


class Worker:
    """A worker with open partitions, which have named its shared id as `naming.py` does."""

    def __init__(self, kafka: MemoryKafka, *, is_active: bool = True) -> None:
        self.kafka = kafka
        self.rounds = Rounds(lambda: "group", SharedIds(kafka.producer, lambda: "app"), is_active=is_active)
        self.committers: dict[int, KafkaTransactions] = {}

    async def open(self, *partitions: int) -> None:
        for number in partitions:
            self.committers[number] = KafkaTransactions(
                partition=number,
                group="group",
                transactional_id=f"own-{number}",
                transaction_timeout_ms=1_000,
                compression=None,
                client={},
                read_committed_offsets=self._no_offsets,
                rounds=self.rounds,
            )
            await self.committers[number].open()

    async def _no_offsets(self, partition: int) -> Mapping[str, tuple[int | None, str]]:
        return {}

    async def name(self, *partitions: int) -> str:
        """Name the present id, as soon as there is one."""
        await until(lambda: all(self.rounds.name_for(number) is not None for number in partitions))
        name = self.rounds.name_for(partitions[0])
        assert name is not None
        for number in partitions:
            await self.committers[number].commit([OutputRecord("changelog", b"name", name.encode())], {})
            self.rounds.named(number, name)
        return name

    async def turn(self, partition: int, offset: int = 1, *, value: bytes = b"", wait: Any = None) -> None:
        async with self.rounds.admitted(partition, lambda: float(partition)):
            if wait is not None:
                await wait
            output = OutputRecord("final", b"key", value or b"order %d of %d" % (offset, partition))
            await self.committers[partition].commit([output], {"orders": offset})


async def worker_in_rounds(kafka: MemoryKafka, *partitions: int) -> tuple[Worker, str]:
    worker = Worker(kafka)
    await worker.open(*partitions)
    name = await worker.name(*partitions)
    kafka.ended.clear()
    return worker, name


async def turns(worker: Worker, *partitions: int, offset: int = 1) -> list[BaseException | None]:
    async with asyncio.timeout(LIVENESS_S):
        return await asyncio.gather(*[worker.turn(number, offset) for number in partitions], return_exceptions=True)


def once(kafka: MemoryKafka, *partitions: int, offsets: int = 1) -> bool:
    """Whether each partition's orders are committed once, together with their offsets."""
    expected = [b"order %d of %d" % (at, number) for number in partitions for at in range(1, offsets + 1)]
    return sorted(kafka.values("final")) == sorted(expected) and kafka.offsets == {
        ("orders", number): offsets for number in partitions
    }
