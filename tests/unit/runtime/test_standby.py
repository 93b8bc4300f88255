"""Goal: a standby keeps up with the partition of another worker, and hands its store over when that one goes.

Method: a standby whose follower a test plays; then one that really follows the changelog of a partition on a testbed,
and a partition that goes on with its store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import TopicPartition

from streams.runtime.partition import standby as standby_module
from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.partition.standby import Standby
from streams.runtime.state import changelog as changelog_module
from streams.runtime.state.changelog import ChangelogDamagedError, Restoration, RestoreProgress
from streams.runtime.state.store import PartitionStore, StoreWriteError
from tests.support.async_waiting import LIVENESS_S
from tests.support.fakes import CHANGELOG, TALLY_CODEC, LogConsumer
from tests.unit.runtime.partition_testbed import PartitionTestbed


class Follower:
    """Raises what it is told to, in turn, and then follows until it is cancelled."""

    def __init__(self, *errors: Exception) -> None:
        self.calls = 0
        self.is_following = asyncio.Event()
        self._errors = list(errors)

    async def __call__(self, pipeline: Pipeline, number: int, store: PartitionStore, progress: RestoreProgress) -> None:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        progress.end = 7
        self.is_following.set()
        await asyncio.Event().wait()


@pytest.fixture
def testbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PartitionTestbed:
    monkeypatch.setattr(standby_module, "RETRY_S", 0.001)
    return PartitionTestbed(tmp_path / "owner", [4, 6, 5])


async def following(standby: Standby, follower: Follower, crashes: list[BaseException]) -> None:
    standby.start(crashes.append)
    async with asyncio.timeout(LIVENESS_S):
        await follower.is_following.wait()


async def test_an_outage_is_waited_for(testbed: PartitionTestbed) -> None:
    crashes: list[BaseException] = []
    follower = Follower(KafkaConnectionError(), ConnectionResetError())
    standby = Standby(0, pipeline=testbed.pipeline, follow=follower, stats=testbed.stats)
    await following(standby, follower, crashes)
    assert (follower.calls, standby.progress.remaining, crashes) == (3, 7, [])
    await standby.close()


@pytest.mark.parametrize(
    "error", [ChangelogDamagedError("no head"), StoreWriteError("disk full"), msgspec.DecodeError("no state")]
)
async def test_a_copy_that_fails_is_dropped_and_costs_the_worker_nothing(
    testbed: PartitionTestbed, error: Exception
) -> None:
    crashes: list[BaseException] = []
    standby = Standby(0, pipeline=testbed.pipeline, follow=Follower(error), stats=testbed.stats)
    standby.start(crashes.append)
    await testbed.until(lambda: testbed.stats.counters["standbys_dropped"] == 1)
    await standby.close()
    assert (standby.error, crashes) == (repr(error), [])
    await testbed.table.open_partition(0)
    await testbed.table.close_partition(0)


async def test_a_store_that_cannot_be_opened_drops_the_standby(
    testbed: PartitionTestbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(partition: int) -> PartitionStore:
        raise StoreWriteError("disk full")

    monkeypatch.setattr(testbed.table, "open_partition", refuse)
    crashes: list[BaseException] = []
    standby = Standby(0, pipeline=testbed.pipeline, follow=Follower(), stats=testbed.stats)
    standby.start(crashes.append)
    await testbed.until(lambda: testbed.stats.counters["standbys_dropped"] == 1)
    await standby.close()
    assert crashes == []


async def test_a_standby_that_is_closed_leaves_its_store_free(testbed: PartitionTestbed) -> None:
    crashes: list[BaseException] = []
    follower = Follower()
    standby = Standby(0, pipeline=testbed.pipeline, follow=follower, stats=testbed.stats)
    await following(standby, follower, crashes)
    with pytest.raises(AssertionError, match="one owner"):
        await testbed.table.open_partition(0)
    await standby.close()
    await testbed.table.open_partition(0)
    await testbed.table.close_partition(0)
    assert crashes == []


async def test_a_standby_that_was_never_started_can_be_closed(testbed: PartitionTestbed) -> None:
    await Standby(0, pipeline=testbed.pipeline, follow=Follower(), stats=testbed.stats).close()


# -- handing over -----------------------------------------------------------------------------------------------------


@pytest.fixture
def follow(testbed: PartitionTestbed, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The real following, on the log of the testbed."""

    @contextlib.asynccontextmanager
    async def reader(client: Any, changelog: TopicPartition) -> AsyncIterator[LogConsumer]:
        yield LogConsumer(testbed.log)

    async def follow(pipeline: Pipeline, number: int, store: PartitionStore, progress: RestoreProgress) -> None:
        place = TopicPartition(CHANGELOG, number)
        await Restoration(store, place, TALLY_CODEC, changelog_delete_retention_s=86_400.0, progress=progress).follow(
            {}
        )

    monkeypatch.setattr(changelog_module, "_reader", reader)
    return follow


async def test_a_partition_goes_on_with_its_standbys_store(
    testbed: PartitionTestbed, follow: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelog_module, "RECENT_OFFSETS", 2)
    testbed.host.turn_max_records = 1
    other = PartitionTestbed(tmp_path / "other", testbed.rows)
    crashes: list[BaseException] = []
    standby = Standby(0, pipeline=other.pipeline, follow=follow, stats=other.stats)
    standby.start(crashes.append)
    testbed.processor.settle = lambda done: None  # the owner dies with everything open
    testbed.start()
    await testbed.processed()
    testbed.rows += [5, 3, 2, 7]
    await testbed.stop()
    testbed.partition = testbed.new_partition()
    testbed.start()
    await testbed.processed()
    written = len(testbed.log.topics[CHANGELOG])
    await testbed.until(lambda: standby.progress.position == written)
    await testbed.stop()
    await standby.close()
    assert crashes == []

    testbed.pipeline = Pipeline(**(vars(testbed.pipeline) | {"table": other.pipeline.table}))
    testbed.rows += [8]
    testbed.partition = testbed.new_partition()
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    assert testbed.partition.progress.records == 2, "no more than what may not be settled"
    assert len(testbed.processor.recent[-1]) == 2
    assert testbed.published() == [b"10", b"20", b"40"]
    assert other.table.tally().total == 40
