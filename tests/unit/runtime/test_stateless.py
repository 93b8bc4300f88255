"""Goal: a pipeline without a state has the same transactions as one with a state, and nothing on a disk.

Method: a partition on a testbed without a table; its fold publishes every change.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from streams.model.change import Change
from streams.runtime.partition import task
from streams.runtime.partition.lifecycle import PartitionState
from streams.runtime.state.codec import NoState
from tests.unit.runtime.partition_testbed import PartitionTestbed


def pass_on(state: NoState, change: Change[int]) -> Any:
    """A fold that needs no state."""
    return (change.key, change.row)


@pytest.fixture
async def testbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PartitionTestbed]:
    monkeypatch.setattr(task, "TIMER_INTERVAL_S", 0.01)
    testbed = PartitionTestbed(tmp_path, [4, 6, 5], has_state=False)
    testbed.fold = pass_on
    yield testbed
    await testbed.stop()


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


async def test_every_change_is_published_and_nothing_else_is_written(testbed: PartitionTestbed, tmp_path: Path) -> None:
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    assert testbed.published() == [b"4", b"6", b"5"]
    assert sorted(testbed.log.topics) == ["tens"], "no changelog"
    assert is_empty(tmp_path), "no store"
    assert testbed.processor.committed_outcomes == [(b"k", 4), (b"k", 6), (b"k", 5)]


@pytest.mark.parametrize("written", [False, True], ids=["before the commit", "after the commit, answer lost"])
async def test_a_commit_of_unknown_outcome_neither_loses_nor_repeats(testbed: PartitionTestbed, written: bool) -> None:
    testbed.host.turn_max_records = 2
    testbed.host.failures.append((KafkaError("lost"), written))
    testbed.start()
    await testbed.processed()
    assert testbed.published() == [b"4", b"6", b"5"]
    assert testbed.log.openings == 2


async def test_it_has_no_timers_and_an_empty_view(testbed: PartitionTestbed) -> None:
    testbed.start()
    await testbed.processed()
    await testbed.until(lambda: testbed.partition.state is PartitionState.RUNNING)
    view = testbed.partition.task.view
    view.pending_follow_up()()
    assert (view.number, view.incarnation, view.now_ms, view.count(1), list(view.timers(1))) == (0, "", 0, 0, [])
    assert testbed.processor.looks == 0


async def test_it_goes_on_where_the_group_has_committed(testbed: PartitionTestbed) -> None:
    testbed.log.offsets["numbers"] = 2
    testbed.start()
    await testbed.processed()
    assert testbed.published() == [b"5"], "committed offsets without a changelog are no lost state here"
