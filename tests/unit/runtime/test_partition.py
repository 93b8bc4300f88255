"""Goal: a partition processes each record once, whatever fails between its steps.

Method: a partition on a bench (`bench.py`) whose commits fail, hang or are fenced as a test says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError, ProducerFenced

from streams.runtime.partition.lifecycle import FencedRepeatedlyError, PartitionState
from streams.runtime.partition.task import StateLostError
from tests.support.async_waiting import LIVENESS_S
from tests.support.fakes import Tally, add
from tests.unit.runtime.bench import Bench


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
    bench.host.turn_max_records = 2
    bench.start()
    await bench.processed()
    await bench.stop()
    for rows in ([8, 2], [6, 4]):
        bench.rows += rows
        bench.partition = bench.new_partition()
        bench.start()
        await bench.processed()
        await bench.stop()
    assert bench.published() == [*EXPECTED, b"40", b"50"]
    assert bench.partition.progress.records <= 1, "the store was up to date, and all but its last turn settled"


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
