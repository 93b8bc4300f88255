"""What workers do while an outage lasts."""

from __future__ import annotations

import time
from typing import Final

from tests.faults.scenario import Scenario

CALM_AFTER_S: Final = 1.0
MOST_REQUESTS_PER_S: Final = 100.0
MOST_LINES_PER_S: Final = 20.0
"""Per worker. A loop without a pause makes thousands of requests a second. Of each kind of message, of which there are
about fifteen, a worker logs five a minute, and an outage of the quick dose takes six seconds."""


def watch_outage(scenario: Scenario, name: str, *, work_goes_on: bool = False) -> None:
    """Wait until an outage is over; log lines must be few from a moment after its begin, and requests if all waits."""
    time.sleep(CALM_AFTER_S)
    before, began = scenario.pool.figures(), time.monotonic()
    time.sleep(scenario.dose.outage_s - CALM_AFTER_S)
    after, seconds = scenario.pool.figures(), time.monotonic() - began
    workers = len(scenario.pool.workers)
    requests = (after.requests - before.requests) / seconds / workers
    lines = (after.log_lines - before.log_lines) / seconds / workers
    figures = scenario.notes.setdefault("outage_per_worker_and_s", {})
    figures[name] = {"requests": round(requests, 1), "log_lines": round(lines, 2)}
    scenario.say(f"      requests and log lines per worker and second: {requests:.1f}, {lines:.2f}")
    if requests > MOST_REQUESTS_PER_S and not work_goes_on:
        scenario.broken.append(f"{name}: {requests:.0f} requests per worker and second")
    if lines > MOST_LINES_PER_S:
        scenario.broken.append(f"{name}: {lines:.1f} log lines per worker and second")
