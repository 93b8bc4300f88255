"""Measure the cycles of the service `python -m batch run --every …`, using the times that the service itself records.

The times of a cycle that found nothing new come from the hash `batch_jobs:{dataset}` in Redis, in milliseconds. The
duration of a cycle that wrote something comes from the line that the service prints after the cycle, because the next
cycle may overwrite the hash at once. A cycle starts when the service takes the lease, and ends when it has written the
manifest. Processor time and memory cover the whole process tree, from the moment when a change is available to the end
of the cycle that processed the change.
"""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bench.lake.run import SAMPLE_S, Cost, Window, started
from bench.lake.systems import environment_of
from bench.lake.testbed import LakeBenchTestbed
from bench.machine import TreeMeter
from bench.testbed import DATASET
from config.settings import RedisSettings
from stack.errors import StackError
from stack.record import last_lines
from streams.adapters.redis import RedisConsole, Script

EVERY_S: Final = 5
CYCLE_LIMIT_S: Final = 900.0
_END_LIMIT_S: Final = 60.0
_LOG_LINES: Final = 15
_WROTE: Final = re.compile(
    r"^\S+ \S+Z run (?P<run>\S+): [\d,]+ rows written(?P<failed>, .* FAILED)? \((?P<seconds>[\d.]+) s\)$", re.MULTILINE
)
"""The pattern of the line that `batch.pipeline.report.print_line` prints after a cycle that wrote something."""
_RECORD: Final = Script(f"return redis.call('HGETALL', 'batch_jobs:{DATASET}')")


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """A finished cycle of the service, as recorded by the service itself."""

    run_id: str
    state: str
    seconds: float


class Service:
    """A running `python -m batch run --every …`, whose cycles are measured from outside."""

    def __init__(self, testbed: LakeBenchTestbed, redis: RedisConsole) -> None:
        self._testbed = testbed
        self._redis = redis
        self._meter = TreeMeter()
        self._log = testbed.base.folder / "service.log"
        command = [sys.executable, "-m", "batch", "run", "--every", f"{EVERY_S}s"]
        self._process = started(command, environment_of(testbed), self._log)
        self._last = self._noted()

    @classmethod
    @contextmanager
    def running(cls, testbed: LakeBenchTestbed) -> Iterator[Service]:
        """Start the service; stop it with SIGTERM after the `with` block."""
        url = RedisSettings.read(testbed.base.environment).url
        with RedisConsole(url, database=0) as redis:
            service = cls(testbed, redis)
            try:
                yield service
            finally:
                service.end()

    def window(self) -> Window:
        """Start measuring the processor time and memory of the service and the servers."""
        self._meter.sample(self._process.pid)
        self._meter.rss_bytes = 0
        return Window(self._meter, self._testbed.servers)

    def cycle(self) -> Cycle:
        """Wait for the end of the next cycle, and return the cycle.

        Raises:
            StackError: the service has stopped, or no cycle ends within the time limit.
        """
        deadline = time.monotonic() + CYCLE_LIMIT_S
        while True:
            self._meter.sample(self._process.pid)
            found = self._noted()
            if found is not None and (self._last is None or found.run_id != self._last.run_id):
                self._last = found
                return found
            self._refuse_end(deadline)
            time.sleep(SAMPLE_S)

    def idle(self) -> Cycle:
        """Wait for the end of a cycle that found nothing new, and return the cycle."""
        while (cycle := self.cycle()).state != "nothing new":
            _refuse_failure(cycle)
        return cycle

    def busy(self) -> tuple[Cycle, Cost]:
        """Wait for the end of the cycle that processes the available changes; return the cycle and its cost.

        Raises:
            StackError: the service has stopped, or the cycle failed or does not end within the time limit.
        """
        window, before = self.window(), len(self._wrote())
        deadline = time.monotonic() + CYCLE_LIMIT_S
        while len(wrote := self._wrote()) == before:
            self._meter.sample(self._process.pid)
            self._refuse_end(deadline)
            time.sleep(SAMPLE_S)
        cycle = wrote[before]
        _refuse_failure(cycle)
        return cycle, window.cost(seconds=cycle.seconds)

    def end(self) -> None:
        """Stop the service with SIGTERM, and kill it after a time limit."""
        self._process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _END_LIMIT_S
        while self._meter.sample(self._process.pid):
            self._process.poll()
            if time.monotonic() > deadline:
                self._process.kill()
            time.sleep(SAMPLE_S)

    def _refuse_end(self, deadline: float) -> None:
        if self._process.poll() is not None or time.monotonic() > deadline:
            text = f"the service stopped or did not finish a cycle within {CYCLE_LIMIT_S:.0f} s; the end of its log:"
            raise StackError("\n".join([text, *last_lines(self._log, _LOG_LINES)]))

    def _wrote(self) -> list[Cycle]:
        return cycles_in(self._log.read_text())

    def _noted(self) -> Cycle | None:
        """Read the last finished cycle from Redis; None before the first cycle and while a cycle is running."""
        flat = [text.decode() for text in self._redis.call(_RECORD, b"")]
        record = dict(zip(flat[::2], flat[1::2], strict=True))
        if "ended" not in record:
            return None
        began, ended = (datetime.fromisoformat(record[name]) for name in ("started", "ended"))
        return Cycle(run_id=record["run_id"], state=record["state"], seconds=(ended - began).total_seconds())


def cycles_in(text: str) -> list[Cycle]:
    """Return the cycles that wrote rows or failed, parsed from the output of a service."""
    return [
        Cycle(run_id=found["run"], state="failed" if found["failed"] else "done", seconds=float(found["seconds"]))
        for found in _WROTE.finditer(text)
    ]


def _refuse_failure(cycle: Cycle) -> None:
    if cycle.state == "failed":
        raise StackError(f"the service's cycle with run id {cycle.run_id} failed")
