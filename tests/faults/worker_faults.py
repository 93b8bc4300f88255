"""Faults of workers: rows 1 to 5, 9, 12, 14r and 15."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from demo.workers import STOP_LIMIT_S, Worker
from stack.process import ProcessState
from tests.faults.fault_shop import DETAILS_TOPIC, ORDERS_TOPIC
from tests.faults.scenario import Scenario
from tests.faults.testbed import PARTITIONS
from tests.faults.worker_pool import SETTLE_LIMIT_S
from tests.support.disks import may_mount, small_disk
from tests.support.kafka import reset_group

STARVATION_LIMIT_S: Final = 60.0
FREEZE_LIMIT_S: Final = 30.0
FENCED_LINE: Final = "was fenced by another owner"
DISK_LIMIT_S: Final = 60.0
NO_SPACE: Final = "No space left on device"


def nothing(scenario: Scenario) -> None:
    """No fault: the base line."""
    with scenario.backlog():
        scenario.struck("nothing happens")


def kill(scenario: Scenario) -> None:
    """SIGKILL a random worker under load; its supervisor starts it again a moment later."""
    for _ in range(scenario.dose.times):
        with scenario.backlog():
            victim = scenario.draw.choice(scenario.pool.workers)
            victim.kill()
            scenario.struck(f"killed worker {victim.web_port}")
            scenario.pause(0.1, 2.0)
            victim.start()
        scenario.pool.settle()


def kill_burst(scenario: Scenario) -> None:
    """SIGKILL workers 0.1 to 1 s apart, all of them in turn; each starts again at once."""
    with scenario.backlog(shares=1):
        for number in range(scenario.dose.times):
            victim = scenario.pool.workers[number % len(scenario.pool.workers)]
            if victim.is_running():
                victim.kill()
            scenario.struck(f"killed worker {victim.web_port}")
            victim.start()
            scenario.pause(0.1, 1.0)
    scenario.pool.settle()


def rolling_restart(scenario: Scenario) -> None:
    """SIGTERM one worker after the other, each started again when it has ended."""
    slowest = 0.0
    for _ in range(scenario.dose.times):
        for worker in scenario.pool.workers:
            with scenario.backlog(shares=scenario.dose.times * len(scenario.pool.workers)):
                began = time.monotonic()
                if not worker.stop(STOP_LIMIT_S):
                    scenario.broken.append(f"worker {worker.web_port} did not end within {STOP_LIMIT_S:.0f} s")
                slowest = max(slowest, time.monotonic() - began)
                scenario.struck(f"worker {worker.web_port} ended after {time.monotonic() - began:.1f} s")
                worker.start()
            scenario.pool.settle()
    scenario.notes["slowest_exit_s"] = round(slowest, 1)


def freeze(scenario: Scenario) -> None:
    """SIGSTOP a worker past session and transaction timeouts, then SIGCONT: every other one at a random moment, the
    rest exactly between the fold and the commit of a turn, so that it wakes with a transaction to begin.
    """
    fenced_before = scenario.pool.log_count(FENCED_LINE)
    for number in range(scenario.dose.times):
        victim = scenario.draw.choice(scenario.pool.workers)
        if number % 2 == 0:
            scenario.pool.stop_file(victim.web_port).touch()
        with scenario.backlog():
            if number % 2 == 0:
                _wait_frozen(scenario, victim)
            else:
                victim.pause()
            scenario.struck(f"froze worker {victim.web_port}")
        everything = list(range(PARTITIONS))
        scenario.pool.until(
            lambda: scenario.pool.serving() == everything,  # noqa: B023
            "the others serve all partitions",
            SETTLE_LIMIT_S,
        )
        with scenario.backlog():
            victim.resume()
        scenario.pool.settle()
    fenced = scenario.pool.log_count(FENCED_LINE) - fenced_before
    scenario.notes["fenced"] = fenced
    if not fenced:
        scenario.broken.append("no zombie was fenced")


def _wait_frozen(scenario: Scenario, worker: Worker) -> None:
    """Wait until the worker has frozen itself."""
    deadline = time.monotonic() + FREEZE_LIMIT_S
    while worker.process.state() is not ProcessState.PAUSED:
        if time.monotonic() > deadline:
            raise TimeoutError(f"worker {worker.web_port} did not come to a commit within {FREEZE_LIMIT_S:.0f} s")
        time.sleep(0.02)


def rebalance_storm(scenario: Scenario) -> None:
    """Workers join and leave, one after the other, some before the last rebalance is over."""
    pool = scenario.pool
    with pool.starvation_watched():
        for _ in range(scenario.dose.times):
            with scenario.backlog():
                if pool.spares and (len(pool.workers) == 1 or scenario.draw.random() < 0.5):
                    worker = pool.spares.pop()
                    pool.workers.append(worker)
                    worker.start()
                    scenario.struck(f"worker {worker.web_port} joins")
                else:
                    worker = pool.workers.pop(scenario.draw.randrange(len(pool.workers)))
                    pool.spares.append(worker)
                    worker.stop(STOP_LIMIT_S)
                    scenario.struck(f"worker {worker.web_port} has left")
                scenario.pause(0.0, 5.0)
        pool.settle()
    scenario.notes["starved_s"] = round(pool.starved_s, 1)
    if pool.starved_s > STARVATION_LIMIT_S:
        scenario.broken.append(f"a partition was served by nobody for {pool.starved_s:.0f} s")


def lose_disk(scenario: Scenario) -> None:
    """Kill a worker and delete its stores; then kill another one and move it to an empty disk."""
    for _ in range(scenario.dose.times):
        with scenario.backlog(shares=2 * scenario.dose.times):
            first, second = scenario.draw.sample(scenario.pool.workers, 2)
            first.kill()
            [folder] = [folder for folder in scenario.pool.folders if first.log.is_relative_to(folder)]
            shutil.rmtree(folder / "state")
            scenario.struck(f"killed worker {first.web_port} and deleted its stores")
            first.start()
        scenario.pool.settle()
        with scenario.backlog(shares=2 * scenario.dose.times):
            second.kill()
            scenario.struck(f"killed worker {second.web_port}, which moves to an empty disk")
            second = scenario.pool.replace(second, f"disk-{time.monotonic_ns()}")
            second.start()
        scenario.pool.settle()
        _note_restoration(scenario, second)


def _note_restoration(scenario: Scenario, worker: Worker) -> None:
    stats = worker.stats()
    if stats is None or not stats["restored_records"]:
        scenario.broken.append("an empty disk was not restored from the changelog")
        return
    seconds = max(partition["restore_s"] for partition in stats["partitions"].values())
    records = stats["restored_records"]
    scenario.notes |= {"restored_records": records, "restore_s_per_100k": round(seconds / records * 100_000, 2)}


def fill_disk(scenario: Scenario) -> None:
    """Move a worker to a small disk and fill it under load: the worker ends and names its store, the others go on.
    There it stays until there is space again.
    """
    if not may_mount():
        raise OSError("a small disk has to be mounted: run as root")
    for number in range(scenario.dose.times):
        victim = scenario.draw.choice(scenario.pool.workers)
        victim.stop(STOP_LIMIT_S)
        victim = scenario.pool.replace(victim, f"small-disk-{number}")
        state = victim.log.parent / "state"
        with small_disk(state) as disk:
            scenario.pool.settle()
            with scenario.backlog():
                disk.fill()
                scenario.struck(f"the disk of worker {victim.web_port} is full")
                _wait_ended_by_full_disk(scenario, victim, state)
                disk.make_room()
            scenario.struck("there is space again")
            scenario.pool.settle()
            victim.stop(STOP_LIMIT_S)
            shutil.copytree(state, state.with_name("kept"))
        state.rmdir()
        state.with_name("kept").rename(state)
        scenario.pool.settle()


def _wait_ended_by_full_disk(scenario: Scenario, worker: Worker, state: Path) -> None:
    """Wait until a worker has ended by the error that names its store, and the others serve everything."""
    deadline = time.monotonic() + DISK_LIMIT_S
    while worker.is_running():
        if time.monotonic() > deadline:
            raise TimeoutError(f"worker {worker.web_port} goes on with a full disk for {DISK_LIMIT_S:.0f} s")
        time.sleep(0.05)
    named = [line for line in worker.log.read_text().splitlines() if f"cannot write to store {state}/" in line]
    if not any(NO_SPACE in line for line in named):
        scenario.broken.append(f"worker {worker.web_port} ended without naming its store and the reason")
    else:
        scenario.notes["error"] = named[0].partition("cannot write")[1] + named[0].partition("cannot write")[2][-120:]
    scenario.pool.until(
        lambda: set(scenario.pool.serving()) == set(range(PARTITIONS)),
        "the others serve all partitions",
        SETTLE_LIMIT_S,
    )


def replay_everything(scenario: Scenario) -> None:
    """Stop all workers, set their group back to the earliest offsets, start them: every change comes again."""
    with scenario.backlog():
        pass
    scenario.pool.settle()
    scenario.shop.wait_captured()
    for worker in scenario.pool.workers:
        worker.stop(STOP_LIMIT_S)
    before = scenario.watch.seen_ns()
    reset_group(scenario.testbed.kafka.bootstrap, scenario.testbed.app_id(), [ORDERS_TOPIC, DETAILS_TOPIC])
    scenario.shop.injected *= 2  # bad records are read again too, and nobody remembers them
    scenario.struck(f"all changes of {len(before)} published orders come again")
    scenario.pool.start()
    scenario.pool.settle()


def shift_clocks(scenario: Scenario) -> None:
    """One worker's wall clock an hour ahead, another's an hour behind, from their start on; then kill both.

    Only Python's `time.time` and `time.time_ns` are shifted, before Faust is imported (`faults_in_process.py`): what a
    library reads of the clock in C stays as it is.
    """
    pool = scenario.pool
    for worker, clock in zip(list(pool.workers), ("clock_ahead", "clock_behind"), strict=False):
        worker.stop(STOP_LIMIT_S)
        shifted = pool.new_worker(worker.web_port, clock, FAULTS_CLOCK=clock)
        pool.workers[pool.workers.index(worker)] = pool.everyone[pool.everyone.index(worker)] = shifted
        shifted.start()
    pool.settle()
    for worker in pool.workers[:2]:
        with scenario.backlog(shares=2):
            worker.kill()
            scenario.struck(f"killed worker {worker.web_port}, whose clock is wrong")
            worker.start()
        pool.settle()
