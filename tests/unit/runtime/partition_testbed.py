"""Testbed of one partition: real partition, turn and RocksDB store; committer, host and application in memory.

The durable log outlives every committer, as Kafka does. The testbed plays the consumer: after each seek it hands over
what follows.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from streams.model.change import Change
from streams.runtime.partition.batch import Fold, RecordBatch
from streams.runtime.partition.host import PolledTask
from streams.runtime.partition.lifecycle import Partition
from streams.runtime.partition.pipeline import PartitionStores, Pipeline
from streams.runtime.state.memory import StoreMemory
from streams.runtime.state.store import PartitionStore
from streams.runtime.state.threads import CLOSING, OPENING, in_thread
from streams.runtime.stats import RuntimeStats
from tests.support.async_waiting import LIVENESS_S, until
from tests.support.fakes import CHANGELOG, TALLY_CODEC, FakeHost, Log, Tally, TallyProcessor, add, numbers


class MemoryTable:
    """The part of a table that a partition uses."""

    codec = TALLY_CODEC
    partitions: int | None = 1
    changelog_name = CHANGELOG

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[int, PartitionStore] = {}

    @property
    def stores(self) -> PartitionStores:
        return self

    async def open_partition(self, partition: int) -> PartitionStore:
        assert partition not in self._open, "a store has one owner"
        await in_thread(OPENING, self._open_in_thread, partition)
        return self._open[partition]

    def _open_in_thread(self, partition: int) -> None:
        self._open[partition] = PartitionStore(self._folder / str(partition), StoreMemory(1024 * 1024))

    def set_readable(self, partition: int) -> None:
        assert partition in self._open

    async def close_partition(self, partition: int) -> None:
        store = self._open.pop(partition, None)
        if store is not None:
            await in_thread(CLOSING, store.close)

    async def close_kept(self, *, besides: Collection[int] = ()) -> None:
        """Do nothing, because this table keeps no store open."""

    def lose(self) -> None:
        """Delete the stores, as a new disk would."""
        shutil.rmtree(self._folder)

    def move(self, folder: Path) -> None:
        """Keep stores elsewhere from now on, as another worker would."""
        self._folder = folder

    def tally(self) -> Tally:
        """The stored state of the one key, read after the partition was closed."""
        store = PartitionStore(self._folder / "0", StoreMemory(1024 * 1024))
        try:
            stored = store.get(b"k")
            return Tally() if stored is None else self.codec.decode(stored)
        finally:
            store.close()


class PartitionTestbed:
    """One partition with everything around it."""

    def __init__(self, folder: Path, rows: list[int], *, has_state: bool = True) -> None:
        self.log = Log()
        self.host = FakeHost(self.log)
        self.processor = TallyProcessor()
        self.table = MemoryTable(folder)
        self.pipeline = Pipeline(
            name="tally",
            sources=("numbers",),
            outputs=("tens", "dead"),
            table=self.table if has_state else None,
            processor=self.processor,
            new_committer=self.host.new_committer,
        )
        self.stats = RuntimeStats()
        self.rows = rows
        self.fold: Fold = add
        self.at_ms: Callable[[int], int] = lambda offset: 0  # the source's time at an offset
        self.crashed: list[BaseException] = []
        self.partition = self.new_partition()
        self._feeder: asyncio.Task[None] | None = None

    def new_partition(self) -> Partition:
        return Partition(0, pipeline=self.pipeline, host=self.host, stats=self.stats)

    def start(self) -> None:
        self._feeder = asyncio.create_task(self._feed())
        self.partition.start(self.crashed.append)

    def batch(self, first: int, rows: list[int], task: PolledTask | None = None) -> RecordBatch:
        batch = RecordBatch("numbers", 0, first, numbers(first, *rows), task or self.partition.task)
        batch.changes = [
            Change(b"k", row, deleted=False, position=(0, 1, at, 0), at_ms=self.at_ms(at))
            for at, row in enumerate(rows, first)
        ]
        return batch

    async def _feed(self) -> None:
        while True:
            task, begins = await self.host.sought.get()
            for first in range(begins["numbers"], len(self.rows), 2):  # two records a batch
                batch = self.batch(first, self.rows[first : first + 2], task)
                task.queue.polled(batch)
                await batch.submit(self.fold)

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition)

    async def processed(self) -> None:
        await self.until(lambda: self.log.offsets.get("numbers") == len(self.rows))

    async def stop(self) -> None:
        if self._feeder is not None:
            self._feeder.cancel()
        await self.partition.close(LIVENESS_S)

    def published(self) -> list[bytes | None]:
        return [record.value for record in self.log.topics.get("tens", [])]
