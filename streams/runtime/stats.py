"""Counters and histograms of a worker since its start, cheap enough to leave enabled at all times."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, Final, Protocol

from streams.runtime.refusals import Refusals

SECONDS_BOUNDS: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
RECORDS_BOUNDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000)

PHASES: Final = ("wait", "fold", "publish", "commit")
"""Phases of a turn (micro-batch): it waits until it may begin, folds its changes, decides what to publish (and waits
for the application's servers, such as the lock guard), and commits, with the write to the local store."""


class Distribution:
    """A histogram with fixed bucket bounds; adding an observation takes a fraction of a microsecond.

    Attributes:
        bounds: ascending upper bounds of the buckets; an additional bucket counts all larger values.
        counts: number of observations in each bucket.
        total: sum of all observations.
        largest: the largest observation; 0 if there is none.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.largest = 0.0

    def observe(self, value: float) -> None:
        """Add one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        if value > self.largest:
            self.largest = value

    def observe_all(self, values: Iterable[float]) -> None:
        """Add several observations."""
        for value in values:
            self.observe(value)


class TurnCounts(Protocol):
    """The figures of a turn (one micro-batch of a partition) that `RuntimeStats` counts."""

    @property
    def caused_at_ms(self) -> Iterable[int]:
        """Kafka timestamps of the records that led to the turn's outputs, in milliseconds since 1970."""

    @property
    def behind(self) -> tuple[int, int] | None:
        """Of the newest change, the milliseconds from its commit in the source to Kafka, and its Kafka timestamp."""

    @property
    def rejected(self) -> Sized:
        """Dead letters of the turn, one for each record that could not be processed."""

    @property
    def reasons(self) -> Sequence[str]:
        """The reason of each dead letter."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of the turn's records by processing result, such as `folded` or `rejected`."""


class RuntimeStats:
    """Counters and histograms of one worker, over all its partitions.

    Attributes:
        turns: number of committed turns (micro-batches).
        counters: all other counters, keyed by name: `records`, `outputs`, `refused` (dead letters), the processing
            results of records (`folded`, `unchanged`, `left`, `after_retention`, `tombstones`, `malformed`, `rejected`,
            `failed`), changes whose source time was not plausible (`times_corrected`), and events of partitions
            (`opened`, `fenced`, …) and of the consumer (`headers_repaired`, `batches_left_out`).
        turn_seconds: duration of each turn, from the start of folding to the end of the commit.
        commit_seconds: duration of each turn's transaction and local write.
        turn_records: number of records per turn, all source topics together.
        loop_seconds: time by which a callback of the event loop ran late, because the loop was held by others.
        refusals: dead letters by reason.
        behind: milliseconds from the newest change's commit in the source to Kafka, and the Unix time at which it got
            there; None before the first change.
        phase_seconds: total duration of all turns by phase, one of `PHASES`.
        visible_seconds: time from the Kafka timestamp of a source record to the commit of the output it led to.
    """

    def __init__(self) -> None:
        self.started_at = time.time()
        self.turns = 0
        self.counters: Counter[str] = Counter()
        self.turn_seconds = Distribution(SECONDS_BOUNDS)
        self.commit_seconds = Distribution(SECONDS_BOUNDS)
        self.turn_records = Distribution(RECORDS_BOUNDS)
        self.visible_seconds = Distribution(SECONDS_BOUNDS)
        self.loop_seconds = Distribution(SECONDS_BOUNDS)
        self.refusals = Refusals()
        self.behind: tuple[int, float] | None = None
        self.phase_seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)

    def waited(self, seconds: float) -> None:
        """Add the time for which a turn (micro-batch) waited until it might begin."""
        self.phase_seconds["wait"] += seconds

    def count(self, name: str, amount: int = 1) -> None:
        """Increase a counter by `amount`."""
        self.counters[name] += amount

    def turn_done(
        self,
        turn: TurnCounts,
        *,
        records: int,
        outputs: int,
        seconds: float,
        commit_seconds: float,
        publish_seconds: float = 0.0,
    ) -> None:
        """Add a committed turn (micro-batch) to the counters and histograms."""
        self.turns += 1
        self.turn_seconds.observe(seconds)
        self.commit_seconds.observe(commit_seconds)
        self.phase_seconds["fold"] += seconds - publish_seconds - commit_seconds
        self.phase_seconds["publish"] += publish_seconds
        self.phase_seconds["commit"] += commit_seconds
        self.turn_records.observe(records)
        now_ms = time.time() * 1000
        self.visible_seconds.observe_all([max(0.0, now_ms - at_ms) / 1000 for at_ms in turn.caused_at_ms])
        if turn.behind is not None:
            self.behind = turn.behind[0], turn.behind[1] / 1000
        self.counters["records"] += records
        self.counters["outputs"] += outputs
        self.refused(turn.reasons)
        self.counters.update(turn.counts)

    def refused(self, reasons: Sequence[str]) -> None:
        """Count dead letters that were kept, one for each of the reasons."""
        self.counters["refused"] += len(reasons)
        self.refusals.note(reasons, time.time())

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for `/stats/`: uptime, turns, the longest hold of the event loop, and all counters."""
        return {
            "uptime_s": round(time.time() - self.started_at, 1),
            "turns": self.turns,
            "turn_seconds": round(self.turn_seconds.total, 3),
            "loop_held_s": round(self.loop_seconds.largest, 3),
            **dict(sorted(self.counters.items())),
        }
