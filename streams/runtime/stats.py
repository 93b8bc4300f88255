"""What a worker counts: totals since its start, cheap enough to be always on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any


class RuntimeStats:
    """Counters of one worker, all partitions together.

    Attributes:
        turns: committed turns.
        counters: everything else by name; `records`, `outputs`, `dead_letters`, the fates of records (`folded`,
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

    def turn_done(
        self, *, records: int, outputs: int, dead_letters: int, seconds: float, fates: Mapping[str, int]
    ) -> None:
        """Account for a committed turn."""
        self.turns += 1
        self.turn_seconds += seconds
        self.counters["records"] += records
        self.counters["outputs"] += outputs
        self.counters["dead_letters"] += dead_letters
        self.counters.update(fates)

    def as_dict(self) -> dict[str, Any]:
        """For the view: seconds since the start, turns and counters."""
        return {
            "uptime_s": round(time.time() - self.started_at, 1),
            "turns": self.turns,
            "turn_seconds": round(self.turn_seconds, 3),
            **dict(sorted(self.counters.items())),
        }
