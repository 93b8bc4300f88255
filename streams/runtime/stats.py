"""Counters and distributions of a worker since its start, cheap enough to be always on."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, Final, Protocol

SECONDS_BOUNDS: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
RECORDS_BOUNDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000)


class Distribution:
    """A histogram with fixed upper bounds; one observation takes a fraction of a microsecond.

    Attributes:
        bounds: upper bounds of the buckets, ascending; one more bucket counts larger values.
        counts: observations by bucket.
        total: sum of all observations.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Add one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Iterable[float]) -> None:
        """Add several observations."""
        for value in values:
            self.observe(value)


class TurnCounts(Protocol):
    """Figures of a turn (one micro-batch of a partition) that are counted."""

    @property
    def caused_at_ms(self) -> Iterable[int]:
        """Timestamps of the records that led to the turn's outputs, in milliseconds since 1970."""

    @property
    def rejected(self) -> Sized:
        """Dead letters of the turn."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of the turn's records, keyed by fate."""


class RuntimeStats:
    """Counters of one worker, all partitions together.

    Attributes:
        turns: number of committed turns.
        counters: everything else, keyed by name: `records`, `outputs`, `refused`, the fates of records (`folded`,
            `unchanged`, `left`, `tombstones`, `malformed`, `rejected`), and events of partitions (`opened`,
            `fenced`, …).
        turn_seconds: duration of turns, each from its first fold to its end.
        commit_seconds: duration of the turns' transactions and local writes.
        turn_records: number of records per turn, all source topics together.
        visible_seconds: time from the Kafka record that led to an output to the end of the output's transaction.
    """

    def __init__(self) -> None:
        self.started_at = time.time()
        self.turns = 0
        self.counters: Counter[str] = Counter()
        self.turn_seconds = Distribution(SECONDS_BOUNDS)
        self.commit_seconds = Distribution(SECONDS_BOUNDS)
        self.turn_records = Distribution(RECORDS_BOUNDS)
        self.visible_seconds = Distribution(SECONDS_BOUNDS)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        self.counters[name] += amount

    def turn_done(self, turn: TurnCounts, *, records: int, outputs: int, seconds: float, commit_seconds: float) -> None:
        """Count a committed turn."""
        self.turns += 1
        self.turn_seconds.observe(seconds)
        self.commit_seconds.observe(commit_seconds)
        self.turn_records.observe(records)
        now_ms = time.time() * 1000
        self.visible_seconds.observe_all([max(0.0, now_ms - at_ms) / 1000 for at_ms in turn.caused_at_ms])
        self.counters["records"] += records
        self.counters["outputs"] += outputs
        self.counters["refused"] += len(turn.rejected)
        self.counters.update(turn.counts)

    def as_dict(self) -> dict[str, Any]:
        """Figures for `/stats/`: seconds since the start, turns and counters."""
        return {
            "uptime_s": round(time.time() - self.started_at, 1),
            "turns": self.turns,
            "turn_seconds": round(self.turn_seconds.total, 3),
            **dict(sorted(self.counters.items())),
        }
