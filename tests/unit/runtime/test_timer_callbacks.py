"""Goal: timers that are due fire in turns that are as durable as any other, and costs nothing else.

Method: a partition on a testbed whose application says what is due; timers are checked a hundred times as often.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from streams.model.fold import FORGOTTEN, STATE_ONLY, UNCHANGED
from streams.runtime.partition import task
from streams.runtime.partition.batch import TimerCallback
from streams.runtime.partition.lifecycle import PartitionState
from streams.runtime.partition.processor import PartitionView
from tests.support.fakes import CHANGELOG, UNROUNDED, Tally
from tests.unit.runtime.partition_testbed import PartitionTestbed

KEY = b"k"


@pytest.fixture
async def testbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PartitionTestbed]:
    monkeypatch.setattr(task, "TIMER_INTERVAL_S", 0.01)
    testbed = PartitionTestbed(tmp_path, [4])
    yield testbed
    await testbed.stop()


def round_up(state: Tally) -> Any:
    """A callback that fills a sum up to the next ten, and publishes it."""
    if not state.total % 10:
        return UNCHANGED
    state.total += -state.total % 10
    return (KEY, state.total)


def round_up_unrounded(partition: PartitionView) -> Iterable[tuple[bytes, TimerCallback]]:
    """The timers of all sums that are no multiple of ten are due."""
    return [(key, round_up) for _, key in partition.timers(UNROUNDED)]


async def looked(testbed: PartitionTestbed, times: int) -> None:
    """Wait for so many more checks of the timers."""
    goal = testbed.processor.looks + times
    await testbed.until(lambda: testbed.processor.looks >= goal)


async def test_while_nothing_is_due_there_is_no_transaction(testbed: PartitionTestbed) -> None:
    testbed.start()
    await testbed.processed()
    before = {topic: len(records) for topic, records in testbed.log.topics.items()}
    turns = testbed.stats.turns
    await looked(testbed, 5)
    assert {topic: len(records) for topic, records in testbed.log.topics.items()} == before
    assert testbed.stats.turns == turns


async def test_callbacks_that_change_nothing_are_no_transaction_either(testbed: PartitionTestbed) -> None:
    testbed.start()
    await testbed.processed()
    turns, written = testbed.stats.turns, len(testbed.log.topics[CHANGELOG])
    testbed.processor.due = lambda partition: [(KEY, lambda state: UNCHANGED)]
    await looked(testbed, 5)
    assert (testbed.stats.turns, len(testbed.log.topics[CHANGELOG])) == (turns, written)


async def test_what_is_due_fires_once_and_is_published_with_its_state_and_its_timer(
    testbed: PartitionTestbed,
) -> None:
    testbed.processor.due = round_up_unrounded
    testbed.start()
    await testbed.processed()
    await testbed.until(lambda: bool(testbed.published()))
    await looked(testbed, 3)
    assert testbed.published() == [b"10"]
    assert testbed.partition.task.view.count(UNROUNDED) == 0
    assert testbed.log.offsets == {"numbers": 1}, "a turn of timers commits no source offset"
    await testbed.stop()
    assert testbed.table.tally().total == 10


async def test_a_callback_may_keep_a_state_without_publishing_it(testbed: PartitionTestbed) -> None:
    def double(state: Tally) -> Any:
        if state.total != 4:
            return UNCHANGED
        state.total = 8
        return STATE_ONLY

    testbed.processor.due = lambda partition: [(KEY, double)]
    testbed.start()
    await testbed.processed()
    await testbed.until(lambda: len(testbed.log.topics[CHANGELOG]) == 3)
    await testbed.stop()
    assert (testbed.published(), testbed.table.tally().total) == ([], 8)


async def test_a_state_that_is_forgotten_is_deleted_everywhere(testbed: PartitionTestbed) -> None:
    testbed.start()
    await testbed.processed()
    forgets = iter([[(KEY, lambda state: FORGOTTEN)]])
    testbed.processor.due = lambda partition: next(forgets, ())
    await testbed.until(lambda: testbed.log.topics[CHANGELOG][-1].value is None)
    await looked(testbed, 1)
    assert testbed.partition.task.view.count(UNROUNDED) == 0
    await testbed.stop()
    assert testbed.table.tally() == Tally()
    assert [record.key for record in testbed.log.topics[CHANGELOG][1:]] == [KEY, KEY]


@pytest.mark.parametrize("written", [False, True], ids=["before the commit", "after the commit, answer lost"])
async def test_a_turn_of_timers_whose_outcome_is_unknown_is_not_repeated(
    testbed: PartitionTestbed, written: bool
) -> None:
    testbed.start()
    await testbed.processed()
    testbed.host.failures.append((KafkaError("lost"), written))
    testbed.processor.due = round_up_unrounded
    await testbed.until(lambda: testbed.log.openings == 2 and testbed.partition.state is PartitionState.RUNNING)
    await testbed.until(lambda: bool(testbed.published()))
    await looked(testbed, 3)
    assert testbed.published() == [b"10"]


async def test_timers_fire_under_constant_load(testbed: PartitionTestbed) -> None:
    testbed.host.turn_max_records = 1
    testbed.rows = [1] * 40_000
    testbed.start()
    await testbed.until(lambda: testbed.processor.looks >= 3)
    assert 0 < testbed.log.offsets["numbers"] < len(testbed.rows), "the queue was never empty meanwhile"


async def test_the_check_of_a_closing_partition_does_not_hold_it_up(testbed: PartitionTestbed) -> None:
    testbed.start()
    await testbed.processed()
    testbed.processor.hold, testbed.processor.due = asyncio.Event(), round_up_unrounded
    testbed.processor.publishing.clear()
    async with asyncio.timeout(20):
        await testbed.processor.publishing.wait()
        await testbed.stop()
    assert testbed.published() == []


# -- the source's time ------------------------------------------------------------------------------------------------


async def test_the_time_is_the_newest_of_the_source_and_goes_on_by_itself(testbed: PartitionTestbed) -> None:
    times = {0: 5_000_000, 1: 7_000_000, 2: 1_000_000, 3: 0}
    testbed.host.turn_max_records = 2
    testbed.rows, testbed.at_ms = [1, 1, 1, 1], lambda offset: times[offset]
    testbed.start()
    await testbed.processed()
    await looked(testbed, 1)
    first = testbed.partition.task.view.now_ms
    await asyncio.sleep(0.05)
    second = testbed.partition.task.view.now_ms
    assert 7_000_000 <= first < second < 7_000_000 + 60_000


async def test_before_the_first_change_there_is_no_time(testbed: PartitionTestbed) -> None:
    testbed.rows = []
    testbed.start()
    await looked(testbed, 2)
    assert testbed.partition.task.view.now_ms == 0


async def test_the_time_is_kept_over_a_restart(testbed: PartitionTestbed) -> None:
    testbed.at_ms = lambda offset: 7_000_000
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    testbed.partition = testbed.new_partition()
    testbed.start()
    await looked(testbed, 1)
    assert testbed.partition.task.view.now_ms >= 7_000_000


async def test_changes_that_wait_while_a_timers_request_is_repeated_are_processed_by_the_next_task(
    testbed: PartitionTestbed,
) -> None:
    testbed.start()
    await testbed.processed()
    left = [5]

    def due(partition: PartitionView) -> Iterable[tuple[bytes, TimerCallback]]:
        if not left:
            return ()
        testbed.rows.append(left.pop())
        batch, running = testbed.batch(1, testbed.rows[1:]), testbed.partition.task
        running.queue.polled(batch)
        running.queue.put(batch, testbed.fold)
        testbed.host.failures.append((None, True))
        return round_up_unrounded(partition)

    testbed.processor.due = due
    await testbed.processed()
    await testbed.until(lambda: testbed.log.offsets == {"numbers": 2})
    assert testbed.crashed == []
    await testbed.stop()
    assert (testbed.published(), testbed.table.tally().total) == ([b"10"], 15)
