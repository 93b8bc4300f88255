"""What happens to workers: rows 1 to 5, 9, 12, 14r and 15."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from demo.workers import STOP_LIMIT_S, Worker
from stack.process import ProcessState
from tests.faults.crew import SETTLE_LIMIT_S
from tests.faults.ground import PARTITIONS
from tests.faults.scene import Scene
from tests.faults.shop import DETAILS_TOPIC, ORDERS_TOPIC
from tests.support.disks import may_mount, small_disk
from tests.support.kafka import reset_group

STARVATION_LIMIT_S: Final = 60.0
FREEZE_LIMIT_S: Final = 30.0
FENCED_LINE: Final = "was fenced by another owner"
DISK_LIMIT_S: Final = 60.0
NO_SPACE: Final = "No space left on device"


def nothing(scene: Scene) -> None:
    """No fault: the base line."""
    with scene.backlog():
        scene.struck("nothing happens")


def kill(scene: Scene) -> None:
    """SIGKILL a random worker under load; its supervisor starts it again a moment later."""
    for _ in range(scene.dose.times):
        with scene.backlog():
            victim = scene.draw.choice(scene.crew.workers)
            victim.kill()
            scene.struck(f"killed worker {victim.web_port}")
            scene.pause(0.1, 2.0)
            victim.start()
        scene.crew.settle()


def kill_burst(scene: Scene) -> None:
    """SIGKILL workers 0.1 to 1 s apart, all of them in turn; each starts again at once."""
    with scene.backlog(shares=1):
        for number in range(scene.dose.times):
            victim = scene.crew.workers[number % len(scene.crew.workers)]
            if victim.is_running():
                victim.kill()
            scene.struck(f"killed worker {victim.web_port}")
            victim.start()
            scene.pause(0.1, 1.0)
    scene.crew.settle()


def rolling_restart(scene: Scene) -> None:
    """SIGTERM one worker after the other, each started again when it has ended."""
    slowest = 0.0
    for _ in range(scene.dose.times):
        for worker in scene.crew.workers:
            with scene.backlog(shares=scene.dose.times * len(scene.crew.workers)):
                began = time.monotonic()
                if not worker.stop(STOP_LIMIT_S):
                    scene.broken.append(f"worker {worker.web_port} did not end within {STOP_LIMIT_S:.0f} s")
                slowest = max(slowest, time.monotonic() - began)
                scene.struck(f"worker {worker.web_port} ended after {time.monotonic() - began:.1f} s")
                worker.start()
            scene.crew.settle()
    scene.notes["slowest_exit_s"] = round(slowest, 1)


def freeze(scene: Scene) -> None:
    """SIGSTOP a worker past session and transaction timeouts, then SIGCONT: every other one at a random moment, the
    rest exactly between the fold and the commit of a turn, so that it wakes with a transaction to begin.
    """
    fenced_before = scene.crew.log_count(FENCED_LINE)
    for number in range(scene.dose.times):
        victim = scene.draw.choice(scene.crew.workers)
        if number % 2 == 0:
            scene.crew.stop_file(victim.web_port).touch()
        with scene.backlog():
            if number % 2 == 0:
                _wait_frozen(scene, victim)
            else:
                victim.pause()
            scene.struck(f"froze worker {victim.web_port}")
        everything = list(range(PARTITIONS))
        scene.crew.until(
            lambda: scene.crew.serving() == everything,  # noqa: B023
            "the others serve all partitions",
            SETTLE_LIMIT_S,
        )
        with scene.backlog():
            victim.resume()
        scene.crew.settle()
    fenced = scene.crew.log_count(FENCED_LINE) - fenced_before
    scene.notes["fenced"] = fenced
    if not fenced:
        scene.broken.append("no zombie was fenced")


def _wait_frozen(scene: Scene, worker: Worker) -> None:
    """Wait until the worker has frozen itself."""
    deadline = time.monotonic() + FREEZE_LIMIT_S
    while worker.process.state() is not ProcessState.PAUSED:
        if time.monotonic() > deadline:
            raise TimeoutError(f"worker {worker.web_port} did not come to a commit within {FREEZE_LIMIT_S:.0f} s")
        time.sleep(0.02)


def rebalance_storm(scene: Scene) -> None:
    """Workers join and leave, one after the other, some before the last rebalance is over."""
    crew = scene.crew
    with crew.starvation_watched():
        for _ in range(scene.dose.times):
            with scene.backlog():
                if crew.spares and (len(crew.workers) == 1 or scene.draw.random() < 0.5):
                    worker = crew.spares.pop()
                    crew.workers.append(worker)
                    worker.start()
                    scene.struck(f"worker {worker.web_port} joins")
                else:
                    worker = crew.workers.pop(scene.draw.randrange(len(crew.workers)))
                    crew.spares.append(worker)
                    worker.stop(STOP_LIMIT_S)
                    scene.struck(f"worker {worker.web_port} has left")
                scene.pause(0.0, 5.0)
        crew.settle()
    scene.notes["starved_s"] = round(crew.starved_s, 1)
    if crew.starved_s > STARVATION_LIMIT_S:
        scene.broken.append(f"a partition was served by nobody for {crew.starved_s:.0f} s")


def lose_disk(scene: Scene) -> None:
    """Kill a worker and delete its stores; then kill another one and move it to an empty disk."""
    for _ in range(scene.dose.times):
        with scene.backlog(shares=2 * scene.dose.times):
            first, second = scene.draw.sample(scene.crew.workers, 2)
            first.kill()
            [folder] = [folder for folder in scene.crew.folders if first.log.is_relative_to(folder)]
            shutil.rmtree(folder / "state")
            scene.struck(f"killed worker {first.web_port} and deleted its stores")
            first.start()
        scene.crew.settle()
        with scene.backlog(shares=2 * scene.dose.times):
            second.kill()
            scene.struck(f"killed worker {second.web_port}, which moves to an empty disk")
            second = scene.crew.replace(second, f"disk-{time.monotonic_ns()}")
            second.start()
        scene.crew.settle()
        _note_restoration(scene, second)


def _note_restoration(scene: Scene, worker: Worker) -> None:
    stats = worker.stats()
    if stats is None or not stats["restored_records"]:
        scene.broken.append("an empty disk was not restored from the changelog")
        return
    seconds = max(partition["restore_s"] for partition in stats["partitions"].values())
    records = stats["restored_records"]
    scene.notes |= {"restored_records": records, "restore_s_per_100k": round(seconds / records * 100_000, 2)}


def fill_disk(scene: Scene) -> None:
    """Move a worker to a small disk and fill it under load: the worker ends and names its store, the others go on.
    There it stays until there is space again.
    """
    if not may_mount():
        raise OSError("a small disk has to be mounted: run as root")
    for number in range(scene.dose.times):
        victim = scene.draw.choice(scene.crew.workers)
        victim.stop(STOP_LIMIT_S)
        victim = scene.crew.replace(victim, f"small-disk-{number}")
        state = victim.log.parent / "state"
        with small_disk(state) as disk:
            scene.crew.settle()
            with scene.backlog():
                disk.fill()
                scene.struck(f"the disk of worker {victim.web_port} is full")
                _wait_refused(scene, victim, state)
                disk.make_room()
            scene.struck("there is space again")
            scene.crew.settle()
            victim.stop(STOP_LIMIT_S)
            shutil.copytree(state, state.with_name("kept"))
        state.rmdir()
        state.with_name("kept").rename(state)
        scene.crew.settle()


def _wait_refused(scene: Scene, worker: Worker, state: Path) -> None:
    """Wait until a worker has ended by the error that names its store, and the others serve everything."""
    deadline = time.monotonic() + DISK_LIMIT_S
    while worker.is_running():
        if time.monotonic() > deadline:
            raise TimeoutError(f"worker {worker.web_port} goes on with a full disk for {DISK_LIMIT_S:.0f} s")
        time.sleep(0.05)
    named = [line for line in worker.log.read_text().splitlines() if f"cannot write to store {state}/" in line]
    if not any(NO_SPACE in line for line in named):
        scene.broken.append(f"worker {worker.web_port} ended without naming its store and the reason")
    else:
        scene.notes["error"] = named[0].partition("cannot write")[1] + named[0].partition("cannot write")[2][-120:]
    scene.crew.until(
        lambda: set(scene.crew.serving()) == set(range(PARTITIONS)),
        "the others serve all partitions",
        SETTLE_LIMIT_S,
    )


def replay_everything(scene: Scene) -> None:
    """Stop all workers, set their group back to the earliest offsets, start them: every change comes again."""
    with scene.backlog():
        pass
    scene.crew.settle()
    scene.shop.wait_captured()
    for worker in scene.crew.workers:
        worker.stop(STOP_LIMIT_S)
    before = scene.watch.seen_ns()
    reset_group(scene.ground.kafka.bootstrap, scene.ground.app_id(), [ORDERS_TOPIC, DETAILS_TOPIC])
    scene.shop.injected *= 2  # bad records are read again too, and nobody remembers them
    scene.struck(f"all changes of {len(before)} published orders come again")
    scene.crew.start()
    scene.crew.settle()


def shift_clocks(scene: Scene) -> None:
    """One worker's wall clock an hour ahead, another's an hour behind, from their start on; then kill both.

    Only Python's `time.time` and `time.time_ns` are shifted, before Faust is imported (`circumstances.py`): what a
    library reads of the clock in C stays as it is.
    """
    crew = scene.crew
    for worker, clock in zip(list(crew.workers), ("clock_ahead", "clock_behind"), strict=False):
        worker.stop(STOP_LIMIT_S)
        shifted = crew.new_worker(worker.web_port, clock, FAULTS_CIRCUMSTANCES=clock)
        crew.workers[crew.workers.index(worker)] = crew.everyone[crew.everyone.index(worker)] = shifted
        shifted.start()
    crew.settle()
    for worker in crew.workers[:2]:
        with scene.backlog(shares=2):
            worker.kill()
            scene.struck(f"killed worker {worker.web_port}, whose clock is wrong")
            worker.start()
        crew.settle()
