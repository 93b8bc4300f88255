"""Goal: a partition processes each record once, whatever fails between its steps.

Method: the real partition, turn and RocksDB store around a committer, a host and an application in memory. The durable
log outlives every committer, as Kafka does; `feed` plays the consumer: after each seek it hands over what follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaError, ProducerFenced
from rocksdict import Cache

from streams.model.change import Change
from streams.runtime.batch import Batch, Fold
from streams.runtime.codec import StateCodec
from streams.runtime.opening import Opening, StateLostError
from streams.runtime.partition import FencedRepeatedlyError, Partition, PartitionState
from streams.runtime.stats import RuntimeStats
from streams.runtime.store import PartitionStore
from tests.fakes import FakeHost, Log, Tally, TallyFlow, add, numbers

LIVENESS_S = 20.0


class MemoryTable:
    """The part of a table that a partition uses."""

    codec = StateCodec(Tally)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[int, PartitionStore] = {}
        self.stores = self

    def open_partition(self, number: int) -> PartitionStore:
        assert number not in self._open, "a store has one owner"
        self._open[number] = PartitionStore(self._folder / str(number), Cache(1024 * 1024))
        return self._open[number]

    def set_readable(self, number: int) -> None:
        assert number in self._open

    def close_partition(self, number: int) -> None:
        store = self._open.pop(number, None)
        if store is not None:
            store.close()

    def tally(self) -> Tally:
        """The stored state of the one key, read after the partition was closed."""
        store = PartitionStore(self._folder / "0", Cache(1024 * 1024))
        try:
            stored = store.get(b"k")
            return Tally() if stored is None else self.codec.decode(stored)
        finally:
            store.close()


class Bench:
    """One partition with everything around it."""

    def __init__(self, folder: Path, rows: list[int]) -> None:
        self.log = Log()
        self.host = FakeHost(self.log)
        self.flow = TallyFlow()
        self.table = MemoryTable(folder)
        self.stats = RuntimeStats()
        self.rows = rows
        self.fold: Fold = add
        self.crashed: list[BaseException] = []
        self.partition = self.new_partition()
        self._feeder: asyncio.Task[None] | None = None

    def new_partition(self) -> Partition:
        return Partition(
            0,
            host=self.host,
            table=cast(Any, self.table),
            flow=self.flow,
            stats=self.stats,
        )

    def start(self) -> None:
        self._feeder = asyncio.create_task(self._feed())
        self.partition.start(self.crashed.append)

    def batch(self, first: int, rows: list[int], opening: Opening | None = None) -> Batch:
        batch = Batch("numbers", 0, first, numbers(first, *rows), opening or self.partition.opening)
        batch.changes = [Change(b"k", row, deleted=False, position=(0, 1, first + i, 0)) for i, row in enumerate(rows)]
        return batch

    async def _feed(self) -> None:
        while True:
            opening, begins = await self.host.sought.get()
            for first in range(begins["numbers"], len(self.rows), 2):  # two records a batch
                batch = self.batch(first, self.rows[first : first + 2], opening)
                opening.polled(batch)
                await batch.fold(self.fold)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIVENESS_S):
            while not condition():  # noqa: ASYNC110 - the condition is seen from outside
                await asyncio.sleep(0.002)

    async def processed(self) -> None:
        await self.until(lambda: self.log.offsets.get("numbers") == len(self.rows))

    async def stop(self) -> None:
        if self._feeder is not None:
            self._feeder.cancel()
        await self.partition.close(LIVENESS_S)

    def published(self) -> list[bytes | None]:
        return [record.value for record in self.log.topics.get("tens", [])]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, [4, 6, 5, 3, 2, 7, 3])
    yield bench
    await bench.stop()


EXPECTED = [b"10", b"20", b"30"]


async def test_every_record_is_folded_once_and_the_results_are_published(bench: Bench) -> None:
    bench.start()
    await bench.processed()
    await bench.stop()
    assert bench.published() == EXPECTED
    assert bench.table.tally().total == 30
    assert bench.stats.counters["folded"] == 7


@pytest.mark.parametrize("written", [False, True], ids=["before the commit", "after the commit, answer lost"])
@pytest.mark.parametrize("turn", [0, 1])
async def test_a_commit_of_unknown_outcome_neither_loses_nor_repeats(bench: Bench, turn: int, written: bool) -> None:
    bench.host.turn_max_records = 2
    bench.host.failures += [*[(KafkaError("first"), False)] * turn, (KafkaError("lost"), written)]
    bench.start()
    await bench.processed()
    await bench.stop()
    assert bench.published() == EXPECTED
    assert bench.table.tally().total == 30
    assert bench.stats.counters["reopened_after_error"] == turn + 1


async def test_the_store_is_not_ahead_of_the_log_when_a_commit_fails(bench: Bench) -> None:
    bench.host.failures += [(KafkaError("away"), False)] * 1000
    bench.start()
    await bench.until(lambda: bench.stats.counters["reopened_after_error"] >= 1)
    await bench.stop()
    assert list(bench.log.topics) == ["changelog"], "its first record only"
    assert bench.table.tally() == Tally()


async def test_a_fenced_partition_reopens_when_the_group_leaves_it_here(bench: Bench) -> None:
    bench.host.failures.append((ProducerFenced(), False))
    bench.start()
    await bench.processed()
    assert bench.published() == EXPECTED
    assert bench.stats.counters["fenced"] == 1


async def test_a_partition_that_keeps_being_fenced_gives_up(bench: Bench) -> None:
    bench.host.failures += [(ProducerFenced(), False)] * 1000
    bench.start()
    await bench.until(lambda: bool(bench.crashed))
    assert isinstance(bench.crashed[0], FencedRepeatedlyError)
    assert bench.published() == []


async def test_a_programmers_error_in_the_commit_ends_the_worker(bench: Bench) -> None:
    bench.host.failures.append((ZeroDivisionError("bug"), False))
    bench.start()
    await bench.until(lambda: bool(bench.crashed))
    assert isinstance(bench.crashed[0], ZeroDivisionError)
    assert bench.published() == []
    assert bench.partition.state is PartitionState.CLOSED


async def test_a_change_that_breaks_its_fold_costs_only_itself(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [4, 99, 6, 13, 10])
    bench.start()
    await bench.processed()
    await bench.stop()
    assert bench.published() == [b"10", b"20"]
    assert [record.headers[0][1] for record in bench.log.topics["dead"]] == [
        b"the fold failed: ZeroDivisionError",
        b"thirteen is refused",
    ]


async def test_closing_while_the_application_waits_drops_the_turn_at_once(bench: Bench) -> None:
    bench.flow.hold = asyncio.Event()
    bench.start()
    async with asyncio.timeout(LIVENESS_S):
        await bench.flow.publishing.wait()
        await bench.stop()
    assert bench.published() == []
    assert bench.log.offsets == {}


async def test_a_partition_that_returns_goes_on_where_it_stopped(bench: Bench) -> None:
    bench.start()
    await bench.processed()
    await bench.stop()
    bench.rows += [8, 2]
    bench.partition = bench.new_partition()
    bench.start()
    await bench.processed()
    assert bench.published() == [*EXPECTED, b"40"]
    assert bench.partition.progress.records == 0, "the store was up to date"


async def test_a_batch_of_an_earlier_opening_is_dropped(bench: Bench) -> None:
    bench.start()
    await bench.processed()
    stale = bench.batch(len(bench.rows), [10])
    await bench.stop()
    bench.partition = bench.new_partition()
    bench.start()
    await bench.until(lambda: bench.partition.state is PartitionState.RUNNING)
    await stale.fold(add)
    assert bench.stats.counters["stale_batches"] == 1
    assert bench.published() == EXPECTED


async def test_a_gap_between_batches_is_mended_by_another_opening(bench: Bench) -> None:
    bench.start()
    await bench.processed()
    bench.rows += [8, 2]
    await bench.batch(len(bench.rows) - 1, [2]).fold(add)  # the one before it was lost on its way
    await bench.processed()
    assert bench.log.openings == 2
    assert bench.published() == [*EXPECTED, b"40"]


async def test_a_commit_that_never_answers_is_given_up_and_found_out(bench: Bench) -> None:
    bench.log.hanging_commits = 1
    bench.start()
    await bench.processed()
    assert bench.log.openings == 2
    assert bench.published() == EXPECTED


async def test_closing_does_not_wait_for_ever_for_a_commit_that_never_answers(bench: Bench) -> None:
    bench.log.hanging_commits = 1_000
    bench.start()
    await bench.until(lambda: bench.log.hanging_commits < 1_000)
    async with asyncio.timeout(LIVENESS_S):
        await bench.partition.close(0.01)
    assert bench.partition.state is PartitionState.CLOSED


async def test_a_state_that_was_lost_stops_the_worker_every_time_it_starts(bench: Bench) -> None:
    bench.log.offsets["numbers"] = 3
    for _ in range(2):
        bench.partition.start(bench.crashed.append)
        await bench.until(lambda: bench.partition.state is PartitionState.CLOSED)
        await bench.partition.close(LIVENESS_S)
        bench.partition = bench.new_partition()
    assert [type(error) for error in bench.crashed] == [StateLostError, StateLostError]
    assert bench.log.topics == {}


async def test_every_opening_closes_the_committer_before_it(bench: Bench) -> None:
    bench.host.failures += [(KafkaError("one"), False), (KafkaError("two"), True)]
    bench.start()
    await bench.until(lambda: bench.log.openings == 3 and bench.partition.state is PartitionState.RUNNING)
    assert [committer.closed for committer in bench.host.committers] == [True, True, False]
