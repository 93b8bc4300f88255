"""Figures and snapshots of workers, as healthy ones have them, with what a test changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from streams.runtime.stats import SECONDS_BOUNDS
from streams.runtime.web.dashboard.board import Seen
from streams.runtime.web.rules import Figures

NO_OUTPUTS: Final = (0,) * (len(SECONDS_BOUNDS) + 1)
NOON: Final = 1_767_268_800.0

HEALTHY: Final = Figures(
    turns=10,
    records=100,
    dead_letters=0,
    lag_s={},
    held_up_s=0.0,
    unanswered_s=1.0,
    not_running={},
    away_s={},
    visible=NO_OUTPUTS,
    events={},
)


def figures(**changed: Any) -> Figures:
    """The figures of a healthy worker, except for these."""
    return replace(HEALTHY, **changed)


def source(lag: int = 0, oldest_s: float | None = 0.0) -> dict[str, Any]:
    return {"lag": lag, "oldest_s": oldest_s, "uncommitted": 0, "held_up_s": 0.0}


def snapshot(partitions: int = 2, **changed: Any) -> dict[str, Any]:
    """What a healthy worker says of itself, except for these."""
    stats = {
        "app": "millrace-orders",
        "ready": True,
        "records": 100,
        "outputs": 40,
        "partitions": {str(number): {"state": "running"} for number in range(partitions)},
        "sources": {f"orders/{number}": source() for number in range(partitions)},
        "away_since": {},
    }
    whole = {
        "version": "0.2.0",
        "at": NOON,
        "started_at": NOON - 60,
        "stats": {**stats, **changed.pop("stats", {})},
        "alerts": [],
        "rates": {"now": 2.0, "quarter_hour": 1.0, "day": 0.5, "records": 10.0},
        "visible": {"quarter_hour": [0, 0, 0, 0, 10, *NO_OUTPUTS[5:]], "day": [*NO_OUTPUTS]},
        "series": {
            "rate": [1.0] * 90,
            "p99": [0.123] * 90,
            "day_rate": [123.4] * 96,
            "day_p99": [0.123] * 96,
        },
        "waiting": {},
    }
    return {**whole, **changed}


def seen(name: str = "a:6066", **changed: Any) -> Seen:
    """A worker that has answered."""
    return Seen(name=name, snapshot=snapshot(**changed), answered_at=NOON)
