"""What happens to the object storage in the middle of a write: it is killed, or its disk is full."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.faults.lake.scene import TABLES, LakeScene
from tests.support.disks import SmallDisk, may_mount, small_disk

DISK: Final = "400m"


def kill_storage(scene: LakeScene) -> None:
    """SIGKILL MinIO while a run writes; the run names it and ends, the next one after its return goes on."""
    stack = scene.ground.house.stack
    layers = scene.turns(list(TABLES))
    for _ in range(scene.dose.times):
        scene.change()
        place = scene.place(next(layers))
        run = scene.start_run(stop_at=f"before {place}")
        run.wait_frozen()
        run.resume()
        scene.pause(0.02, 0.5)
        stack.kill("minio")
        scene.struck(f"killed MinIO in the write of {place}")
        began = time.monotonic()
        scene.expect_error(run.wait(), "object storage")
        scene.notes["error_after_s"] = round(time.monotonic() - began, 1)
        stack.start("minio")
        scene.repair()
        scene.judge()


def fill_storage(scene: LakeScene) -> None:
    """No space on MinIO's disk from the middle of a run on, while the shop goes on; then there is space again."""
    if not may_mount():
        raise OSError("a small disk has to be mounted: run as root")
    with _on_small_disk(scene) as disk:
        layers = scene.turns(list(TABLES))
        for _ in range(scene.dose.times):
            scene.change()
            place = scene.place(next(layers))
            run = scene.start_run(stop_at=f"before {place}")
            run.wait_frozen()
            disk.fill()
            scene.struck(f"no space is left at the commit of {place}")
            run.resume()
            scene.expect_error(run.wait(), "has no room left")
            scene.ground.change(scene.draw)
            disk.make_room()
            scene.ground.house.until_archived()
            scene.repair()
            scene.judge()


@contextmanager
def _on_small_disk(scene: LakeScene) -> Iterator[SmallDisk]:
    """Move MinIO's data to a small disk, and back in the end."""
    stack = scene.ground.house.stack
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
