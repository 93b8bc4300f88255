"""Goal: the pages read a partition's state only while it is open, and say whether the worker is ready.

Method: a partition on a testbed whose committer does not let go; `/health` over a real web server.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from aiokafka.errors import KafkaError

from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.lifecycle import Partition, PartitionState
from streams.runtime.web.pages import declare_pages, open_partitions
from tests.support.fakes import UNROUNDED, MemoryCommitter
from tests.unit.runtime.partition_testbed import PartitionTestbed
from tests.unit.runtime.web_workers import WebWorker, serving


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


# -- /health ----------------------------------------------------------------------------------------------------------


async def health(worker: WebWorker) -> tuple[int, dict[str, Any]]:
    head, _, body = (await worker.get("/health")).partition(b"\r\n\r\n")
    return int(head.split()[1]), msgspec.json.decode(body)


async def test_a_worker_is_healthy_while_it_processes_all_its_partitions(tmp_path: Path) -> None:
    worker = WebWorker("worker", tmp_path)
    declare_pages(worker.app, counted={})
    supervisor = worker.app.partition_supervisor
    testbed = PartitionTestbed(tmp_path, [])
    async with serving(worker):
        status, body = await health(worker)
        assert (status, body["ready"]) == (503, False), "it has not joined its group"
        supervisor.completed.set()
        worker.app.rebalancing = False
        assert await health(worker) == (200, {"app": "worker", "ready": True, "not_running": {}})
        testbed.partition.state, testbed.partition.error = PartitionState.WAITING, "KafkaError()"
        supervisor.partitions.append(testbed.partition)
        status, body = await health(worker)
        assert (status, body["ready"]) == (503, False)
        assert body["not_running"] == {"tally/0": {"state": "waiting", "error": "KafkaError()"}}
        testbed.partition.state = PartitionState.RUNNING
        assert (await health(worker))[0] == 200
