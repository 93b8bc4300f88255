"""Goal: the pages read a partition's state only while it is open, also when the partition takes its time to close.

Method: a partition on a testbed whose committer does not let go.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest
from aiokafka.errors import KafkaError

from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.lifecycle import Partition
from streams.runtime.web.pages import open_partitions
from tests.support.fakes import UNROUNDED, MemoryCommitter
from tests.unit.runtime.partition_testbed import PartitionTestbed


class Worker:
    """What the pages ask of an application."""

    def __init__(self, *partitions: Partition) -> None:
        self.partition_supervisor = self
        self.partitions = partitions


async def test_a_partition_that_is_being_closed_is_not_read_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, may_close = asyncio.Event(), asyncio.Event()

    async def close(self: MemoryCommitter) -> None:
        closing.set()
        await may_close.wait()

    testbed = PartitionTestbed(tmp_path, [4])
    app = cast(TransactionalApp, Worker(testbed.partition))
    assert open_partitions(app) == [], "it was not opened yet"
    testbed.start()
    await testbed.processed()
    await testbed.until(lambda: [partition.count(UNROUNDED) for partition in open_partitions(app)] == [1])
    monkeypatch.setattr(MemoryCommitter, "close", close)
    testbed.host.failures.append((KafkaError("away"), False))
    task = testbed.partition.task
    batch = testbed.batch(1, [5])
    task.queue.polled(batch)
    await batch.submit(testbed.fold)
    await asyncio.wait_for(closing.wait(), 20)
    assert open_partitions(app) == []
    may_close.set()
    await testbed.until(lambda: len(open_partitions(app)) == 1)
    await testbed.stop()
    assert open_partitions(app) == []
