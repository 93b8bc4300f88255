"""The demo's proof: its measurements and verdicts, as text for people and as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(kw_only=True)
class Proof:
    """Measurements and verdicts of a demo run; `seconds_per_phase` has the duration of each phase, in order."""

    complete_orders: int = 0
    distinct: int = 0
    total: int = 0
    missing: int = 0
    duplicates: int = 0
    different: int = 0
    events: int = 0
    events_per_s: float = 0.0
    live_orders: int = 0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    lake_rows: dict[str, int] = field(default_factory=dict)
    lake_verdict: str = ""
    seconds_per_phase: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Total duration of all phases, in seconds."""
        return round(sum(self.seconds_per_phase.values()), 1)

    @property
    def passed(self) -> bool:
        """Whether `order_final` and the lake equal the database: no order is missing, repeated or different."""
        is_exact = self.complete_orders > 0 and not (self.missing or self.duplicates or self.different)
        return is_exact and self.lake_verdict == "equal"

    def write(self, path: Path) -> None:
        """Write the proof to a JSON file, and create its folder if missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        figures = {**vars(self), "seconds": self.seconds, "passed": self.passed}
        path.write_text(json.dumps(figures, indent=2) + "\n")

    def lines(self) -> list[str]:
        """Format the proof as lines of text."""
        phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds_per_phase.items())
        return [
            f"complete orders in the database      {self.complete_orders:>10,}",
            f"distinct orders in order_final       {self.distinct:>10,}",
            f"records in order_final               {self.total:>10,}",
            f"missing                              {self.missing:>10,}",
            f"duplicates                           {self.duplicates:>10,}",
            f"fields that differ from the database {self.different:>10,}",
            f"events per second, the kill included {self.events_per_s:>10,.0f}   ({self.events:,} events)",
            f"commit → order_final, p50            {self.latency_p50_ms:>10.1f} ms"
            f"   ({self.live_orders:,} live orders)",
            f"commit → order_final, p99            {self.latency_p99_ms:>10.1f} ms",
            *(f"rows in {table:<29}{rows:>10,}" for table, rows in self.lake_rows.items()),
            f"the lake against the database        {self.lake_verdict:>10}",
            f"seconds: {phases}; {self.seconds:.1f} in all",
            self._conclusion(),
        ]

    def _conclusion(self) -> str:
        if self.passed:
            return "PASSED: order_final has every complete order exactly once, and the lake equals the database"
        return "FAILED"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]
