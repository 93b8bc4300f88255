"""Goal: a partition processes each record once, whatever fails between its steps.

Method: a partition on a testbed (`partition_testbed.py`) whose commits fail, hang or are fenced as a test says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError, ProducerFenced

from streams.runtime.partition.first_record import StateLostError
from streams.runtime.partition.lifecycle import FencedRepeatedlyError, PartitionState
from tests.support.async_waiting import LIVENESS_S
from tests.support.fakes import Tally, add
from tests.unit.runtime.partition_testbed import PartitionTestbed


@pytest.fixture
async def testbed(tmp_path: Path) -> AsyncIterator[PartitionTestbed]:
    testbed = PartitionTestbed(tmp_path, [4, 6, 5, 3, 2, 7, 3])
    yield testbed
    await testbed.stop()


EXPECTED = [b"10", b"20", b"30"]


async def test_every_record_is_folded_once_and_the_results_are_published(testbed: PartitionTestbed) -> None:
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    assert testbed.published() == EXPECTED
    assert testbed.table.tally().total == 30
    assert testbed.stats.counters["folded"] == 7


@pytest.mark.parametrize("written", [False, True], ids=["before the commit", "after the commit, answer lost"])
@pytest.mark.parametrize("turn", [0, 1])
async def test_a_commit_of_unknown_outcome_neither_loses_nor_repeats(
    testbed: PartitionTestbed, turn: int, written: bool
) -> None:
    testbed.host.turn_max_records = 2
    testbed.host.failures += [*[(KafkaError("first"), False)] * turn, (KafkaError("lost"), written)]
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    assert testbed.published() == EXPECTED
    assert testbed.table.tally().total == 30
    assert testbed.stats.counters["reopened_after_error"] == turn + 1


@pytest.mark.parametrize("turn", [0, 1])
async def test_a_partition_is_opened_again_after_a_turn_that_had_to_repeat_a_request(
    testbed: PartitionTestbed, turn: int
) -> None:
    testbed.host.turn_max_records = 2
    testbed.host.failures += [(None, True)] * (turn + 1)
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    assert testbed.published() == EXPECTED
    assert testbed.table.tally().total == 30
    assert testbed.stats.counters["reopened_for_epoch"] == turn + 1
    assert testbed.log.openings == turn + 2, "once for each, besides the first opening"
    assert testbed.stats.counters["reopened_after_error"] == 0


async def test_the_store_is_not_ahead_of_the_log_when_a_commit_fails(testbed: PartitionTestbed) -> None:
    testbed.host.failures += [(KafkaError("away"), False)] * 1000
    testbed.start()
    await testbed.until(lambda: testbed.stats.counters["reopened_after_error"] >= 1)
    await testbed.stop()
    assert list(testbed.log.topics) == ["changelog"], "its first record only"
    assert testbed.table.tally() == Tally()


async def test_a_fenced_partition_reopens_when_the_group_leaves_it_here(testbed: PartitionTestbed) -> None:
    testbed.host.failures.append((ProducerFenced(), False))
    testbed.start()
    await testbed.processed()
    assert testbed.published() == EXPECTED
    assert testbed.stats.counters["fenced"] == 1


async def test_a_fenced_partition_is_not_opened_before_the_group_confirms_its_owner(testbed: PartitionTestbed) -> None:
    testbed.host.fenced_wait_s = 3600.0  # it would not be waited for
    testbed.host.group_answers = asyncio.Event()
    testbed.host.failures.append((ProducerFenced(), False))
    testbed.start()
    await testbed.until(lambda: testbed.partition.state is PartitionState.WAITING)
    for _ in range(100):
        await asyncio.sleep(0)
    assert (testbed.partition.state, len(testbed.host.committers)) == (PartitionState.WAITING, 1)
    testbed.host.group_answers.set()
    await testbed.processed()
    assert testbed.published() == EXPECTED


async def test_a_zombie_never_opens_the_partition_again(testbed: PartitionTestbed) -> None:
    testbed.host.group_answers = asyncio.Event()  # the group has excluded it, and says nothing else
    testbed.host.failures.append((ProducerFenced(), False))
    testbed.start()
    await testbed.until(lambda: testbed.partition.state is PartitionState.WAITING)
    async with asyncio.timeout(LIVENESS_S):
        await testbed.partition.close(LIVENESS_S)
    assert (testbed.partition.state, len(testbed.host.committers)) == (PartitionState.CLOSED, 1)
    assert (testbed.log.openings, testbed.crashed) == (1, [])


async def test_a_partition_that_is_fenced_again_waits_longer(testbed: PartitionTestbed) -> None:
    testbed.host.fenced_wait_s = 3600.0
    testbed.host.failures += [(ProducerFenced(), False)] * 2
    testbed.start()
    await testbed.until(lambda: testbed.stats.counters["fenced"] == 2)
    await testbed.until(lambda: testbed.partition.state is PartitionState.WAITING)
    assert (len(testbed.host.committers), testbed.published()) == (2, [])


async def test_a_partition_that_keeps_being_fenced_gives_up(testbed: PartitionTestbed) -> None:
    testbed.host.failures += [(ProducerFenced(), False)] * 1000
    testbed.start()
    await testbed.until(lambda: bool(testbed.crashed))
    assert isinstance(testbed.crashed[0], FencedRepeatedlyError)
    assert testbed.published() == []


async def test_a_programmers_error_in_the_commit_ends_the_worker(testbed: PartitionTestbed) -> None:
    testbed.host.failures.append((ZeroDivisionError("bug"), False))
    testbed.start()
    await testbed.until(lambda: bool(testbed.crashed))
    assert isinstance(testbed.crashed[0], ZeroDivisionError)
    assert testbed.published() == []
    assert testbed.partition.state is PartitionState.CLOSED


async def test_a_change_that_breaks_its_fold_costs_only_itself(tmp_path: Path) -> None:
    testbed = PartitionTestbed(tmp_path, [4, 99, 6, 13, 10])
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    assert testbed.published() == [b"10", b"20"]
    assert [record.headers[0][1] for record in testbed.log.topics["dead"]] == [
        b"the fold function raised ZeroDivisionError",
        b"thirteen is rejected",
    ]


async def test_closing_while_the_application_waits_drops_the_turn_at_once(testbed: PartitionTestbed) -> None:
    testbed.processor.hold = asyncio.Event()
    testbed.start()
    async with asyncio.timeout(LIVENESS_S):
        await testbed.processor.publishing.wait()
        await testbed.stop()
    assert testbed.published() == []
    assert testbed.log.offsets == {}


async def test_a_partition_that_returns_goes_on_where_it_stopped(testbed: PartitionTestbed) -> None:
    testbed.host.turn_max_records = 2
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    for rows in ([8, 2], [6, 4]):
        testbed.rows += rows
        testbed.partition = testbed.new_partition()
        testbed.start()
        await testbed.processed()
        await testbed.stop()
    assert testbed.published() == [*EXPECTED, b"40", b"50"]
    assert testbed.partition.progress.records <= 1, "the store was up to date, and all but its last turn settled"


async def test_a_batch_of_an_earlier_opening_is_dropped(testbed: PartitionTestbed) -> None:
    testbed.start()
    await testbed.processed()
    stale = testbed.batch(len(testbed.rows), [10])
    await testbed.stop()
    testbed.partition = testbed.new_partition()
    testbed.start()
    await testbed.until(lambda: testbed.partition.state is PartitionState.RUNNING)
    await stale.submit(add)
    assert testbed.stats.counters["stale_batches"] == 1
    assert testbed.published() == EXPECTED


async def test_a_gap_between_batches_is_mended_by_another_opening(testbed: PartitionTestbed) -> None:
    testbed.start()
    await testbed.processed()
    testbed.rows += [8, 2]
    await testbed.batch(len(testbed.rows) - 1, [2]).submit(add)  # the one before it was lost on its way
    await testbed.processed()
    assert testbed.log.openings == 2
    assert testbed.published() == [*EXPECTED, b"40"]


async def test_a_commit_that_never_answers_is_given_up_and_found_out(testbed: PartitionTestbed) -> None:
    testbed.log.hanging_commits = 1
    testbed.start()
    await testbed.processed()
    assert testbed.log.openings == 2
    assert testbed.published() == EXPECTED


async def test_closing_does_not_wait_for_ever_for_a_commit_that_never_answers(testbed: PartitionTestbed) -> None:
    testbed.log.hanging_commits = 1_000
    testbed.start()
    await testbed.until(lambda: testbed.log.hanging_commits < 1_000)
    async with asyncio.timeout(LIVENESS_S):
        await testbed.partition.close(0.01)
    assert testbed.partition.state is PartitionState.CLOSED


async def test_a_state_that_was_lost_stops_the_worker_every_time_it_starts(testbed: PartitionTestbed) -> None:
    testbed.log.offsets["numbers"] = 3
    for _ in range(2):
        testbed.partition.start(testbed.crashed.append)
        await testbed.until(lambda: testbed.partition.state is PartitionState.CLOSED)
        await testbed.partition.close(LIVENESS_S)
        testbed.partition = testbed.new_partition()
    assert [type(error) for error in testbed.crashed] == [StateLostError, StateLostError]
    assert testbed.log.topics == {}


async def test_every_task_closes_the_committer_before_it(testbed: PartitionTestbed) -> None:
    testbed.host.failures += [(KafkaError("one"), False), (KafkaError("two"), True)]
    testbed.start()
    await testbed.until(lambda: testbed.log.openings == 3 and testbed.partition.state is PartitionState.RUNNING)
    assert [committer.closed for committer in testbed.host.committers] == [True, True, False]
