"""Goal: a partition stops before a change of an unknown origin, says so, and goes on once a new epoch has begun.

Method: a partition on a testbed (`partition_testbed.py`), whose changes come from a server and a file as a test says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from streams.model.change import Change
from streams.model.position import Position
from streams.runtime.partition import lifecycle
from streams.runtime.partition.batch import RecordBatch
from streams.runtime.partition.host import PolledTask
from streams.runtime.partition.lifecycle import PartitionState
from streams.runtime.partition.origins import OriginRule
from streams.topics import APPENDED_HEADERS, REPAIRED_HEADER, REPLAYED_FROM_HEADER, SWEPT_HEADER
from tests.support.fakes import numbers
from tests.unit.runtime.partition_testbed import PartitionTestbed

OLD, NEW = 1, 2


class FailOver(PartitionTestbed):
    """A partition of seven records; from the offset `moved`, they come from another server's log."""

    moved = 3
    new_file = 3
    new_epoch = 0
    begun = 0
    only_one = False
    headers: Sequence[tuple[str, bytes]] = ()

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, [4, 6, 5, 3, 2, 7, 3])
        self.pipeline = dataclasses.replace(
            self.pipeline, origin_rule=OriginRule(begun_epoch=self._begun_epoch, foreign_headers=APPENDED_HEADERS)
        )
        self.partition = self.new_partition()

    async def _begun_epoch(self) -> int:
        return self.begun

    def place(self, offset: int) -> tuple[Position, int]:
        """Return position and server of the change at an offset."""
        if offset < self.moved or (self.only_one and offset > self.moved):
            return (0, 812, 100 + offset, 0), OLD
        return (self.new_epoch, self.new_file, offset, 0), NEW

    def batch(self, first: int, rows: list[int], task: PolledTask | None = None) -> RecordBatch:
        records = [
            dataclasses.replace(record, headers=self.headers) if record.offset == self.moved else record
            for record in numbers(first, *rows)
        ]
        batch = RecordBatch("numbers", 0, first, records, task or self.partition.task)
        places = [self.place(offset) for offset in range(first, first + len(rows))]
        batch.changes = [
            Change(b"k%d" % at, row, False, place, 1_000 + at, server)
            for at, (row, (place, server)) in enumerate(zip(rows, places, strict=True), first)
        ]
        return batch

    async def stopped(self) -> str:
        """Wait until the partition has stopped; return its error."""
        await self.until(lambda: self.stats.counters["unknown_origin"] > 0)
        await self.until(lambda: self.partition.state is PartitionState.WAITING)
        return str(self.partition.error)


@pytest.fixture
async def testbed(tmp_path: Path) -> AsyncIterator[FailOver]:
    testbed = FailOver(tmp_path)
    yield testbed
    await testbed.stop()


async def test_a_partition_stops_before_the_first_change_of_another_server(testbed: FailOver) -> None:
    testbed.start()
    error = await testbed.stopped()
    assert testbed.log.offsets["numbers"] == 3, "everything before it is processed, and nothing after it"
    for told in ("numbers/0", "offset 3", "server 2", "server 1", "file 3", "epoch 0"):
        assert told in error
    assert "connector epoch begin" in error
    assert "source-failover.md" in error
    assert not testbed.crashed


@pytest.mark.parametrize("header", [REPLAYED_FROM_HEADER, SWEPT_HEADER, REPAIRED_HEADER])
@pytest.mark.parametrize("file", [3, 9_999])
async def test_a_record_that_a_command_appended_stops_nothing_and_makes_no_later_change_suspicious(
    testbed: FailOver, header: str, file: int
) -> None:
    testbed.headers = [(header, b"dead_letters/0/7")]
    testbed.only_one, testbed.new_file = True, file
    testbed.start()
    await testbed.processed()
    assert testbed.stats.counters["unknown_origin"] == 0


async def test_the_known_origin_outlives_the_worker(testbed: FailOver) -> None:
    testbed.rows, whole = testbed.rows[:3], testbed.rows
    testbed.start()
    await testbed.until(lambda: testbed.log.offsets.get("numbers") == 3)
    await testbed.stop()
    testbed.table.lose()
    testbed.rows = whole
    testbed.partition = testbed.new_partition()
    testbed.start()
    assert "offset 3" in await testbed.stopped()


async def test_a_change_of_a_new_epoch_is_of_no_unknown_origin(testbed: FailOver) -> None:
    testbed.new_epoch = 1
    testbed.start()
    await testbed.processed()
    assert testbed.stats.counters["unknown_origin"] == 0


async def test_the_partition_goes_on_by_itself_once_a_later_epoch_has_begun(
    testbed: FailOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "UNKNOWN_ORIGIN_DELAY_S", 0.01)
    testbed.start()
    await testbed.stopped()
    testbed.begun = 1
    await testbed.processed()
    assert not testbed.crashed


async def test_the_old_log_read_again_after_a_reset_of_the_offsets_stops_nothing(testbed: FailOver) -> None:
    testbed.begun = 1
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    testbed.log.offsets.clear()
    testbed.log.notes.clear()  # Kafka deletes them together
    testbed.partition = testbed.new_partition()
    testbed.start()
    await testbed.processed()
    assert testbed.stats.counters["unknown_origin"] == 0
    assert testbed.stats.counters["unchanged"] == 7
