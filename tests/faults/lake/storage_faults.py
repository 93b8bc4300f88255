"""Faults of the object storage in the middle of a write: it is killed, or its disk is full."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.faults.lake.scenario import TABLES, LakeScenario
from tests.support.disks import SmallDisk, may_mount, small_disk

DISK: Final = "400m"


def kill_storage(scenario: LakeScenario) -> None:
    """SIGKILL MinIO while a run writes; the run names it and ends, the next one after its return goes on."""
    stack = scenario.testbed.base.stack
    layers = scenario.turns(list(TABLES))
    for _ in range(scenario.dose.times):
        scenario.change()
        place = scenario.place(next(layers))
        run = scenario.start_run(stop_at=f"before {place}")
        run.wait_frozen()
        run.resume()
        scenario.pause(0.02, 0.5)
        stack.kill("minio")
        scenario.struck(f"killed MinIO in the write of {place}")
        began = time.monotonic()
        scenario.expect_error(run.wait(), "object storage")
        scenario.notes["error_after_s"] = round(time.monotonic() - began, 1)
        stack.start("minio")
        scenario.repair()
        scenario.judge()


def fill_storage(scenario: LakeScenario) -> None:
    """No space on MinIO's disk from the middle of a run on, while the shop goes on; then there is space again."""
    if not may_mount():
        raise OSError("a small disk has to be mounted: run as root")
    with _on_small_disk(scenario) as disk:
        layers = scenario.turns(list(TABLES))
        for _ in range(scenario.dose.times):
            scenario.change()
            place = scenario.place(next(layers))
            run = scenario.start_run(stop_at=f"before {place}")
            run.wait_frozen()
            disk.fill()
            scenario.struck(f"no space is left at the commit of {place}")
            run.resume()
            scenario.expect_error(run.wait(), "is full")
            scenario.testbed.change(scenario.draw)
            disk.make_room()
            scenario.testbed.base.until_archived()
            scenario.repair()
            scenario.judge()


@contextmanager
def _on_small_disk(scenario: LakeScenario) -> Iterator[SmallDisk]:
    """Move MinIO's data to a small disk, and back in the end."""
    stack = scenario.testbed.base.stack
    data = stack.site.data("minio")
    large = data.with_name("minio-large")
    stack.down(only=["minio"])
    data.rename(large)
    with small_disk(data, DISK) as disk:
        shutil.copytree(large, data, dirs_exist_ok=True)
        stack.start("minio")
        yield disk
        stack.down(only=["minio"])
        disk.make_room()
        shutil.rmtree(large)
        shutil.copytree(data, large)
    data.rmdir()
    large.rename(data)
    stack.start("minio")
