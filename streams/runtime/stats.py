"""What a worker counts: totals since its start, cheap enough to be always on."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.runtime.turn import Turn


class RuntimeStats:
    """Counters of one worker, all partitions together.

    Attributes:
        turns: committed turns.
        counters: everything else by name; `records`, `outputs`, `refused`, the fates of records (`folded`,
            `unchanged`, `tombstones`, `malformed`, `rejected`), and events of partitions (`opened`, `fenced`, …).
    """

    def __init__(self) -> None:
        self.started_at = time.time()
        self.turns = 0
        self.turn_seconds = 0.0
        self.counters: Counter[str] = Counter()

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        self.counters[name] += amount

    def turn_done(self, turn: Turn, *, records: int, outputs: int, seconds: float) -> None:
        """Account for a committed turn."""
        self.turns += 1
        self.turn_seconds += seconds
        self.counters["records"] += records
        self.counters["outputs"] += outputs
        self.counters["refused"] += len(turn.refused)
        self.counters.update(turn.counts)

    def as_dict(self) -> dict[str, Any]:
        """For the view: seconds since the start, turns and counters."""
        return {
            "uptime_s": round(time.time() - self.started_at, 1),
            "turns": self.turns,
            "turn_seconds": round(self.turn_seconds, 3),
            **dict(sorted(self.counters.items())),
        }
