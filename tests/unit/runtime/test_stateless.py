"""Goal: a pipeline without a state has the same transactions as one with a state, and nothing on a disk.

Method: a partition on a bench without a table; its fold publishes every change.
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
from tests.unit.runtime.bench import Bench


def pass_on(state: NoState, change: Change[int]) -> Any:
    """A fold that needs no state."""
    return (change.key, change.row)


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(task, "CLOCK_S", 0.01)
    bench = Bench(tmp_path, [4, 6, 5], has_state=False)
    bench.fold = pass_on
    yield bench
    await bench.stop()


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


async def test_every_change_is_published_and_nothing_else_is_written(bench: Bench, tmp_path: Path) -> None:
    bench.start()
    await bench.processed()
    await bench.stop()
    assert bench.published() == [b"4", b"6", b"5"]
    assert sorted(bench.log.topics) == ["tens"], "no changelog"
    assert is_empty(tmp_path), "no store"
    assert bench.flow.committed_outcomes == [(b"k", 4), (b"k", 6), (b"k", 5)]


@pytest.mark.parametrize("written", [False, True], ids=["before the commit", "after the commit, answer lost"])
async def test_a_commit_of_unknown_outcome_neither_loses_nor_repeats(bench: Bench, written: bool) -> None:
    bench.host.turn_max_records = 2
    bench.host.failures.append((KafkaError("lost"), written))
    bench.start()
    await bench.processed()
    assert bench.published() == [b"4", b"6", b"5"]
    assert bench.log.openings == 2


async def test_it_has_no_clock_and_an_empty_view(bench: Bench) -> None:
    bench.start()
    await bench.processed()
    await bench.until(lambda: bench.partition.state is PartitionState.RUNNING)
    view = bench.partition.opening.view
    view.settling()()
    assert (view.number, view.incarnation, view.now_ms, view.count(1), list(view.agenda(1))) == (0, "", 0, 0, [])
    assert bench.flow.looks == 0


async def test_it_goes_on_where_the_group_has_committed(bench: Bench) -> None:
    bench.log.offsets["numbers"] = 2
    bench.start()
    await bench.processed()
    assert bench.published() == [b"5"], "committed offsets without a changelog are no lost state here"
