"""Faults of the workers of warehouse and live figures, and of the servers that they write to."""

from __future__ import annotations

import contextlib
import time
from typing import Final

from demo.workers import Worker
from stack.process import ProcessState
from tests.faults.sinks.program import held_file
from tests.faults.sinks.testbed import SinkScenario

PAST_SESSION_S: Final = 9.0
"""Longer than a session of 6 seconds."""
SEEN_S: Final = 2.0
"""Time for a transaction and some looks at the warehouse; shorter than a session."""

STEADY_STEPS: Final = 20
"""Steps of a few records each: in the large turn after a kill, an older version mostly comes with a newer one."""


def kill_around_commit(scenario: SinkScenario) -> None:
    """Kill the worker before, during and after a COMMIT; another one goes on."""
    worker = scenario.worker()
    for _ in range(scenario.dose.times):
        for when in ("before", "during", "after"):
            scenario.until_on()
            scenario.ask(when)
            scenario.until(lambda ended=worker: _has_ended(ended), f"the worker was killed {when} its COMMIT")  # type: ignore[misc]
            worker = scenario.worker()
    for _ in range(STEADY_STEPS):
        scenario.until_on(10)


def stop_past_session(scenario: SinkScenario) -> None:
    """Freeze the worker between a fold and its transaction; it goes on when another one has the partitions."""
    for _ in range(scenario.dose.times):
        frozen = scenario.worker()
        scenario.until_on()
        scenario.ask("stop")
        scenario.until(lambda: not scenario.kill_file.exists(), "the worker is frozen")
        owner = scenario.worker()
        scenario.until_on()
        owner.pause()  # or it would write over what the other one writes before anybody has looked
        frozen.resume()
        time.sleep(SEEN_S)
        owner.resume()
        time.sleep(PAST_SESSION_S)
        scenario.expect(owner.is_running(), "the new owner has ended")
        for worker in (owner, frozen):
            worker.kill()
    scenario.worker()
    scenario.until_on()


def take_over(scenario: SinkScenario) -> None:
    """Own the worker's partitions again and again, as a second worker with the same name does."""
    scenario.worker()
    for _ in range(scenario.dose.times):
        scenario.until_on()
        scenario.run("UPDATE stream_offsets SET owner = gen_random_uuid()")
    scenario.until_on()


def kill_database_in_commit(scenario: SinkScenario) -> None:
    """Kill PostgreSQL while a COMMIT is not answered; the worker finds out what became of it."""
    worker = scenario.worker()
    for _ in range(scenario.dose.times):
        scenario.until_on()
        scenario.ask("hold")
        held = held_file(scenario.kill_file)
        scenario.until(held.exists, "a COMMIT is sent")
        scenario.testbed.stack.kill("postgres")
        held.unlink()
        scenario.testbed.stack.up()
    scenario.until_on()
    scenario.expect(worker.is_running(), "the worker has ended")


def leave_away(scenario: SinkScenario) -> None:
    """Kill PostgreSQL and start it again after a while, during which changes gather in Kafka."""
    worker = scenario.worker()
    for _ in range(scenario.dose.times):
        scenario.until_on()
        scenario.testbed.stack.kill("postgres")
        time.sleep(scenario.dose.outage_s)
        stats = worker.stats() or {}
        scenario.expect(stats.get("away_since", {}).get("warehouse"), "/stats/ does not say since when it is away")
        scenario.testbed.stack.up()
        scenario.until_on()
    scenario.expect(worker.is_running(), "the worker has ended")


def flush_redis(scenario: SinkScenario) -> None:
    """Empty Redis under the figures' worker, and kill the worker."""
    worker = scenario.worker("metrics")
    for _ in range(scenario.dose.times):
        _until_counted(scenario)
        with contextlib.closing(scenario.redis()) as client:
            client.flushdb()
        _until_counted(scenario)
        worker.kill()
        worker = scenario.worker("metrics")
    _until_counted(scenario)


def join_and_leave(scenario: SinkScenario) -> None:
    """Let a second worker of each application join and leave, gracefully and killed."""
    first = [scenario.worker("warehouse"), scenario.worker("metrics")]
    for number in range(scenario.dose.times):
        second = [scenario.worker("warehouse"), scenario.worker("metrics")]
        scenario.until_on()
        for worker in first:
            if number % 2:
                worker.kill()
            else:
                scenario.expect(worker.stop(), "a worker did not end gracefully")
        scenario.until_on()
        first = second
    _until_counted(scenario)


def _until_counted(scenario: SinkScenario, count: int = 50) -> None:
    """Wait until so many changes more were counted."""
    known = sum(scenario.counted().values())
    scenario.until(lambda: sum(scenario.counted().values()) >= known + count, "the figures go on")


def _has_ended(worker: Worker) -> bool:
    return worker.process.state() is ProcessState.ENDED
