"""Goal: whatever remains to be done after a commit is handed to the application again if a worker dies before it is.

Method: a `StoredPartitionView` whose follow-ups come back at random; then a partition on a testbed whose follow-ups a
test holds back. A worker's death is a close without them: it keeps nothing that a close would write.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.runtime.partition import view as open_partition_module
from streams.runtime.partition.lifecycle import PartitionState
from streams.runtime.partition.view import StoredPartitionView
from streams.runtime.state import changelog
from tests.unit.runtime.partition_testbed import PartitionTestbed


class FakeStore:
    """What a `StoredPartitionView` uses of a store to settle it."""

    changelog_offset: int | None = 5
    settled_offset: int | None = 3
    newest_ms = 0


def stored_partition() -> tuple[FakeStore, StoredPartitionView]:
    store = FakeStore()
    return store, StoredPartitionView(0, store)  # type: ignore[arg-type]  # only what is listed above is used


@given(done_first=st.permutations(range(6)), done=st.integers(0, 6))
def test_a_store_is_settled_up_to_the_first_thing_that_is_not_done(done_first: list[int], done: int) -> None:
    store, partition = stored_partition()
    follow_ups: list[Callable[[], None]] = []
    for turn in range(6):
        partition.note_written(10 + turn)
        follow_ups.append(partition.pending_follow_up())
    for turn in done_first[:done]:
        follow_ups[turn]()
    open_turns = set(range(6)) - set(done_first[:done])
    settled_turns = min(open_turns, default=6)
    assert store.settled_offset == (3 if settled_turns == 0 else 10 + settled_turns - 1)


def test_before_the_first_turn_it_is_the_opening_that_is_settled() -> None:
    store, partition = stored_partition()
    partition.pending_follow_up()()
    assert store.settled_offset == 5


def test_a_follow_up_that_is_done_twice_counts_once() -> None:
    store, partition = stored_partition()
    first = partition.pending_follow_up()
    partition.note_written(10)
    partition.pending_follow_up()
    first()
    first()
    assert store.settled_offset == 5


def test_too_many_open_things_are_left_to_the_next_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_partition_module, "MOST_UNSETTLED", 3)
    store, partition = stored_partition()
    follow_ups = []
    for offset in range(10, 15):
        partition.note_written(offset)
        follow_ups.append(partition.pending_follow_up())
    for done in follow_ups:
        done()
    assert store.settled_offset == 3, "the two that were not noted must not be taken for settled"


# -- on a testbed ----------------------------------------------------------------------------------------------------


class HeldBack:
    """Takes follow-ups instead of doing them."""

    def __init__(self) -> None:
        self.follow_ups: list[Callable[[], None]] = []

    def __call__(self, done: Callable[[], None]) -> None:
        self.follow_ups.append(done)


@pytest.fixture
async def testbed(tmp_path: Path) -> AsyncIterator[PartitionTestbed]:
    testbed = PartitionTestbed(tmp_path, [4])
    testbed.host.turn_max_records = 1
    yield testbed
    await testbed.stop()


async def live(testbed: PartitionTestbed, *rows: int) -> None:
    """A life of the partition that begins where the last one ended, and processes these rows too."""
    testbed.rows += rows
    testbed.partition = testbed.new_partition()
    testbed.start()
    await testbed.processed()
    await testbed.until(lambda: testbed.partition.state is PartitionState.RUNNING)
    await testbed.stop()


def told(testbed: PartitionTestbed) -> list[list[int]]:
    """The sums that each task heard of as recent."""
    decode = testbed.table.codec.decode
    return [[decode(state).total for _, state in recent if state is not None] for recent in testbed.processor.recent]


async def test_what_was_committed_and_not_settled_is_told_to_the_next_opening(testbed: PartitionTestbed) -> None:
    await live(testbed)
    testbed.processor.settle = HeldBack()
    await live(testbed, 6)
    await live(testbed)
    assert told(testbed)[-1][-1] == 10


async def test_what_the_first_life_of_a_state_did_not_settle_is_told_too(testbed: PartitionTestbed) -> None:
    openings = HeldBack()

    def settle_openings_only(done: Callable[[], None]) -> None:
        openings(done)
        if len(openings.follow_ups) == 1:
            done()

    testbed.processor.settle = settle_openings_only
    await live(testbed, 6)
    await live(testbed)
    assert 10 in told(testbed)[-1]


async def test_a_turn_whose_end_the_application_did_not_hear_of_is_told_to_the_next_opening(
    testbed: PartitionTestbed,
) -> None:
    await live(testbed)
    testbed.rows.append(6)
    testbed.log.slow = asyncio.Event()
    testbed.partition = testbed.new_partition()
    testbed.start()
    await testbed.until(lambda: testbed.log.slow_commits == 1)
    closing = asyncio.create_task(testbed.partition.close(0.01))
    await asyncio.sleep(0.1)
    testbed.log.slow.set()
    await closing
    assert testbed.log.offsets == {"numbers": 2}, "the commit under way was finished"
    assert len(testbed.processor.committed_outcomes) == 0
    await live(testbed)
    assert 10 in told(testbed)[-1]


async def test_what_was_settled_is_not_told_again_beyond_the_last_turn(testbed: PartitionTestbed) -> None:
    for row in (6, 5, 5):
        await live(testbed, row)
    await live(testbed)
    assert len(told(testbed)[-1]) <= 1, "settling is kept with the next write"


async def test_one_thing_that_stays_open_keeps_everything_after_it_open(testbed: PartitionTestbed) -> None:
    await live(testbed)
    held = HeldBack()
    testbed.processor.settle = held
    await live(testbed, 6)
    for done in held.follow_ups[1:]:
        done()
    testbed.processor.settle = lambda done: None
    await live(testbed, 5)
    await live(testbed)
    assert told(testbed)[-1][-2:] == [10, 15]


async def test_of_a_store_that_knows_nothing_of_settling_the_recent_states_are_told(
    testbed: PartitionTestbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelog, "RECENT_OFFSETS", 2)
    testbed.processor.settle = lambda done: None
    for row in (6, 5, 5, 5):
        await live(testbed, row)
    await live(testbed)
    assert told(testbed)[-1] == [20, 25]


async def test_a_store_that_is_restored_in_full_is_told_everything_there_is(testbed: PartitionTestbed) -> None:
    await live(testbed, 6, 5)
    testbed.table.lose()
    await live(testbed)
    assert told(testbed)[-1] == [10, 15]
