"""Goal: the clock of a partition visits what is due, in turns that are as durable as any other, and costs nothing else.

Method: a partition on a bench whose application says what is due; the clock's interval is a hundredth of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from streams.model.fold import FORGOTTEN, KEPT, UNCHANGED
from streams.runtime.partition import task
from streams.runtime.partition.batch import Visit
from streams.runtime.partition.lifecycle import PartitionState
from streams.runtime.partition.processor import OpenPartition
from tests.support.fakes import CHANGELOG, UNEVEN, Tally
from tests.unit.runtime.bench import Bench

KEY = b"k"


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(task, "CLOCK_S", 0.01)
    bench = Bench(tmp_path, [4])
    yield bench
    await bench.stop()


def round_up(state: Tally) -> Any:
    """A visit that fills a sum up to the next ten, and publishes it."""
    if not state.total % 10:
        return UNCHANGED
    state.total += -state.total % 10
    return (KEY, state.total)


def round_up_uneven(partition: OpenPartition) -> Iterable[tuple[bytes, Visit]]:
    """Every uneven sum of the agenda is due."""
    return [(key, round_up) for _, key in partition.agenda(UNEVEN)]


async def looked(bench: Bench, times: int) -> None:
    """Wait until the clock has looked so often more."""
    goal = bench.flow.looks + times
    await bench.until(lambda: bench.flow.looks >= goal)


async def test_while_nothing_is_due_there_is_no_transaction(bench: Bench) -> None:
    bench.start()
    await bench.processed()
    before = {topic: len(records) for topic, records in bench.log.topics.items()}
    turns = bench.stats.turns
    await looked(bench, 5)
    assert {topic: len(records) for topic, records in bench.log.topics.items()} == before
    assert bench.stats.turns == turns


async def test_visits_that_change_nothing_are_no_transaction_either(bench: Bench) -> None:
    bench.start()
    await bench.processed()
    turns, written = bench.stats.turns, len(bench.log.topics[CHANGELOG])
    bench.flow.due = lambda partition: [(KEY, lambda state: UNCHANGED)]
    await looked(bench, 5)
    assert (bench.stats.turns, len(bench.log.topics[CHANGELOG])) == (turns, written)


async def test_what_is_due_is_visited_once_and_published_with_its_state_and_its_agenda(bench: Bench) -> None:
    bench.flow.due = round_up_uneven
    bench.start()
    await bench.processed()
    await bench.until(lambda: bool(bench.published()))
    await looked(bench, 3)
    assert bench.published() == [b"10"]
    assert bench.partition.opening.view.count(UNEVEN) == 0
    assert bench.log.offsets == {"numbers": 1}, "the clock commits no source offset"
    await bench.stop()
    assert bench.table.tally().total == 10


async def test_a_visit_may_keep_a_state_without_publishing_it(bench: Bench) -> None:
    def double(state: Tally) -> Any:
        if state.total != 4:
            return UNCHANGED
        state.total = 8
        return KEPT

    bench.flow.due = lambda partition: [(KEY, double)]
    bench.start()
    await bench.processed()
    await bench.until(lambda: len(bench.log.topics[CHANGELOG]) == 3)
    await bench.stop()
    assert (bench.published(), bench.table.tally().total) == ([], 8)


async def test_a_state_that_is_forgotten_is_deleted_everywhere(bench: Bench) -> None:
    bench.start()
    await bench.processed()
    forgets = iter([[(KEY, lambda state: FORGOTTEN)]])
    bench.flow.due = lambda partition: next(forgets, ())
    await bench.until(lambda: bench.log.topics[CHANGELOG][-1].value is None)
    await looked(bench, 1)
    assert bench.partition.opening.view.count(UNEVEN) == 0
    await bench.stop()
    assert bench.table.tally() == Tally()
    assert [record.key for record in bench.log.topics[CHANGELOG][1:]] == [KEY, KEY]


@pytest.mark.parametrize("written", [False, True], ids=["before the commit", "after the commit, answer lost"])
async def test_a_turn_of_the_clock_whose_outcome_is_unknown_is_not_repeated(bench: Bench, written: bool) -> None:
    bench.start()
    await bench.processed()
    bench.host.failures.append((KafkaError("lost"), written))
    bench.flow.due = round_up_uneven
    await bench.until(lambda: bench.log.openings == 2 and bench.partition.state is PartitionState.RUNNING)
    await bench.until(lambda: bool(bench.published()))
    await looked(bench, 3)
    assert bench.published() == [b"10"]


async def test_the_clock_goes_under_constant_load(bench: Bench) -> None:
    bench.host.turn_max_records = 1
    bench.rows = [1] * 40_000
    bench.start()
    await bench.until(lambda: bench.flow.looks >= 3)
    assert 0 < bench.log.offsets["numbers"] < len(bench.rows), "the queue was never empty meanwhile"


async def test_the_clock_of_a_partition_that_closes_does_not_hold_it_up(bench: Bench) -> None:
    bench.start()
    await bench.processed()
    bench.flow.hold, bench.flow.due = asyncio.Event(), round_up_uneven
    bench.flow.publishing.clear()
    async with asyncio.timeout(20):
        await bench.flow.publishing.wait()
        await bench.stop()
    assert bench.published() == []


# -- the source's time ------------------------------------------------------------------------------------------------


async def test_the_time_is_the_newest_of_the_source_and_goes_on_by_itself(bench: Bench) -> None:
    times = {0: 5_000_000, 1: 7_000_000, 2: 1_000_000, 3: 0}
    bench.host.turn_max_records = 2
    bench.rows, bench.at_ms = [1, 1, 1, 1], lambda offset: times[offset]
    bench.start()
    await bench.processed()
    await looked(bench, 1)
    first = bench.partition.opening.view.now_ms
    await asyncio.sleep(0.05)
    second = bench.partition.opening.view.now_ms
    assert 7_000_000 <= first < second < 7_000_000 + 60_000


async def test_before_the_first_change_there_is_no_time(bench: Bench) -> None:
    bench.rows = []
    bench.start()
    await looked(bench, 2)
    assert bench.partition.opening.view.now_ms == 0


async def test_the_time_is_kept_over_a_restart(bench: Bench) -> None:
    bench.at_ms = lambda offset: 7_000_000
    bench.start()
    await bench.processed()
    await bench.stop()
    bench.partition = bench.new_partition()
    bench.start()
    await looked(bench, 1)
    assert bench.partition.opening.view.now_ms >= 7_000_000
