"""Goal: a partition whose source topic was deleted, created again or truncated stops at once, alone and with a name.

Method: a partition on a testbed; the fake host describes its topic as the test says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from faust.types import TP

from streams.runtime.faust.fetched import FetchedRecord
from streams.runtime.faust.source_topics import MISSING
from streams.runtime.faust.source_watch import report_altered
from streams.runtime.faust.transport import BatchConsumer
from streams.runtime.partition.lifecycle import PartitionState
from streams.runtime.partition.queue import BatchQueue
from streams.runtime.partition.sources import (
    Source,
    SourceAlteredError,
    SourceChangedError,
    SourceReplacedError,
    SourceShortenedError,
    SourceTruncatedError,
    check_sources,
)
from streams.runtime.state.changelog import SOURCE_KEY
from tests.support.fakes import CHANGELOG, TALLY_CODEC, Tally
from tests.unit.runtime.partition_testbed import PartitionTestbed

OLD, NEW = "a" * 32, "b" * 32


@pytest.fixture(params=[True, False], ids=["with a changelog", "stateless"])
async def testbed(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[PartitionTestbed]:
    testbed = PartitionTestbed(tmp_path / "one", [4, 6, 5], has_state=request.param)
    if not request.param:
        testbed.fold = lambda state, change: (change.key, change.row)
    testbed.host.source = Source(OLD, 0, 100)
    yield testbed
    await testbed.stop()


async def processed_and_stopped(testbed: PartitionTestbed) -> None:
    testbed.start()
    await testbed.processed()
    await testbed.stop()


async def reopened(testbed: PartitionTestbed, source: Source, state: PartitionState) -> None:
    """Open the partition again with its topic as `source`, until it is in this state."""
    testbed.host.source = source
    testbed.partition = testbed.new_partition()
    testbed.start()
    await testbed.until(lambda: testbed.partition.state is state)


@pytest.mark.parametrize(
    "source",
    [Source(NEW, 0, 100), Source(OLD, 4, 100), Source(OLD, 0, 2)],
    ids=["created again", "truncated", "shortened"],
)
async def test_a_changed_topic_stops_its_partition_only(testbed: PartitionTestbed, source: Source) -> None:
    await processed_and_stopped(testbed)
    await reopened(testbed, source, PartitionState.STOPPED)
    error = testbed.partition.error or ""
    assert "partition 0 of topic numbers" in error
    assert "millrace topics skip --app tally --topic numbers --partition 0 --to-beginning" in error
    assert testbed.crashed == [], "the worker goes on with its other partitions"
    assert (testbed.stats.counters["stopped"], testbed.stats.counters["reopened_after_error"]) == (1, 0)


async def test_a_stopped_partition_closes_and_opens_once_its_topic_is_as_before(testbed: PartitionTestbed) -> None:
    await processed_and_stopped(testbed)
    await reopened(testbed, Source(OLD, 4, 100), PartitionState.STOPPED)
    await testbed.stop()
    testbed.rows += [5]
    await reopened(testbed, Source(OLD, 3, 100), PartitionState.RUNNING)
    await testbed.processed()


async def test_a_topic_that_was_created_again_is_known_without_committed_offsets(testbed: PartitionTestbed) -> None:
    """Kafka deletes the offsets of a group together with the topic."""
    await processed_and_stopped(testbed)
    testbed.log.offsets.clear()
    await reopened(testbed, Source(NEW, 0, 100), PartitionState.STOPPED)
    assert "committed offset None" in (testbed.partition.error or "")


async def test_the_id_is_known_on_an_empty_disk(tmp_path: Path) -> None:
    testbed = PartitionTestbed(tmp_path / "one", [4, 6, 5])
    testbed.host.source = Source(OLD, 0, 100)
    await processed_and_stopped(testbed)
    testbed.table.move(tmp_path / "two")
    await reopened(testbed, Source(NEW, 0, 100), PartitionState.STOPPED)
    await testbed.stop()


async def test_without_a_known_id_the_present_one_is_adopted_once(testbed: PartitionTestbed) -> None:
    testbed.host.source = Source(None, 0, 100)  # as after an upgrade, or with brokers that have no ids
    await processed_and_stopped(testbed)
    before = len(testbed.log.topics.get(CHANGELOG, []))
    for _ in range(2):
        testbed.rows += [5]
        testbed.host.source = Source(OLD, 0, 100)
        testbed.partition = testbed.new_partition()
        await processed_and_stopped(testbed)
    if testbed.pipeline.table is not None:
        records = testbed.log.topics[CHANGELOG][before:]
        found = [record.headers for record in records if record.key == SOURCE_KEY + b"numbers"]
        assert found == [(("numbers", OLD.encode()),)]
    await reopened(testbed, Source(NEW, 0, 100), PartitionState.STOPPED)


async def test_brokers_without_ids_change_nothing(testbed: PartitionTestbed) -> None:
    await processed_and_stopped(testbed)
    await reopened(testbed, Source(None, 0, 100), PartitionState.RUNNING)


async def test_the_state_is_unharmed_and_readable_by_an_earlier_release(tmp_path: Path) -> None:
    testbed = PartitionTestbed(tmp_path / "one", [4, 6, 5, 3, 2])
    testbed.host.source = Source(OLD, 0, 100)
    await processed_and_stopped(testbed)
    assert (testbed.published(), testbed.table.tally().total) == ([b"10", b"20"], 20)
    [record] = [record for record in testbed.log.topics[CHANGELOG] if record.key == SOURCE_KEY + b"numbers"]
    assert TALLY_CODEC.decode(record.value or b"") == Tally()


@pytest.mark.parametrize("found", [NEW, MISSING], ids=["created again", "deleted"])
async def test_a_topic_that_changes_under_a_running_partition_reopens_it(testbed: PartitionTestbed, found: str) -> None:
    testbed.start()
    await testbed.processed()
    report_altered([testbed.partition], {"numbers": OLD})
    assert testbed.stats.counters["reopened_after_error"] == 0
    testbed.host.source = Source(NEW, 0, 100)
    report_altered([testbed.partition], {"numbers": found})
    await testbed.until(lambda: testbed.partition.state is PartitionState.STOPPED)
    assert (testbed.stats.counters["reopened_after_error"], testbed.crashed) == (1, [])


class Ids:
    """A place of the known ids."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = known

    async def source_ids(self) -> dict[str, str]:
        return self.known

    async def keep_source_ids(self, ids: Any) -> None:
        self.known = dict(ids)


@pytest.mark.parametrize(
    ("source", "error", "expected", "found"),
    [
        (Source(NEW, 0, 9), SourceReplacedError, OLD, NEW),
        (Source(OLD, 6, 9), SourceTruncatedError, 5, 6),
        (Source(OLD, 0, 4), SourceShortenedError, 5, 4),
        (Source(None, 6, 9), SourceTruncatedError, 5, 6),
    ],
)
async def test_the_error_has_both_sides(
    source: Source, error: type[SourceChangedError], expected: Any, found: Any
) -> None:
    ids = Ids({"numbers": OLD})
    with pytest.raises(error) as raised:
        await check_sources("shop", 7, {"numbers": 5}, {"numbers": source}, ids)
    fault = raised.value
    assert (fault.topic, fault.partition, fault.expected, fault.found) == ("numbers", 7, expected, found)
    assert all(str(side) in str(fault) for side in (expected, found))


@pytest.mark.parametrize("source", [Source(OLD, 5, 5), Source(OLD, 0, 5), Source(None, 0, 9)])
async def test_an_offset_at_an_edge_is_valid(source: Source) -> None:
    await check_sources("shop", 7, {"numbers": 5}, {"numbers": source}, Ids({"numbers": OLD}))


async def test_the_ids_of_further_topics_are_added() -> None:
    ids = Ids({"numbers": OLD})
    sources = {"numbers": Source(OLD, 0, 9), "letters": Source(NEW, 0, 9)}
    await check_sources("shop", 7, {"numbers": 5, "letters": None}, sources, ids)
    assert ids.known == {"letters": NEW}


# -- records deleted under a running consumer -------------------------------------------------------------------------


class Polled:
    """A task that a consumer polls for."""

    is_open = True
    partition = 0

    def __init__(self) -> None:
        self.queue = BatchQueue(1_000_000)
        self.batches: list[Any] = []
        self.faults: list[Exception] = []

    def fail(self, error: Exception) -> None:
        self.faults.append(error)


@pytest.mark.parametrize(
    ("begin", "first", "fault"),
    [
        (10, 11, None),
        (10, 15, None),
        (15, 15, SourceAlteredError),
        (0, 10, None),
        (KafkaTimeoutError(), 15, KafkaTimeoutError),
    ],
    ids=["a transaction marker", "an aborted transaction", "deleted records", "no gap", "no answer"],
)
async def test_a_gap_is_told_from_deleted_records(
    begin: int | Exception, first: int, fault: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = object.__new__(BatchConsumer)
    task, tp, handed = Polled(), TP("numbers", 0), []

    async def first_offset(_: TP) -> int:
        if isinstance(begin, Exception):
            raise begin
        return begin

    async def hand_over(*_: Any) -> None:
        handed.append(first)

    for name, value in {
        "app": SimpleNamespace(batch_max_records=500, consumer_generation_id=1),
        "_thread": SimpleNamespace(first_offset=first_offset),
        "_partition_tasks": {tp: task},
        "_read_offset": {tp: 10},
        "_note_uncommitted": lambda *_: None,
        "_track_end": lambda *_: None,
        "_message": lambda *_: None,
        "callback": hand_over,
        "suspend_flow": SimpleNamespace(wait=lambda: None),
    }.items():
        monkeypatch.setitem(vars(consumer), name, value)
    monkeypatch.setattr(BatchConsumer, "flow_active", True, raising=False)
    monkeypatch.setitem(vars(consumer), "wait_first", lambda handing, _: handing)
    await consumer._hand_over(tp, [FetchedRecord("numbers", 0, first, 0, b"k", b"1", ())])
    assert [type(each) for each in task.faults] == ([] if fault is None else [fault])
    assert len(handed) == (fault is None)
    assert (tp in consumer._partition_tasks) == (fault is None), "polled on after records that were not handed over"
