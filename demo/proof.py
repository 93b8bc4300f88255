"""The demo's proof: its measurements and verdicts, as text for people and as JSON for programs."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from demo.sinks_proof import FiguresProof, WarehouseProof

LINE_WIDTH: Final = 112
LAYERS: Final = ("bronze", "silver", "gold")
_REPORT_LINES: Final = 10


@dataclass(kw_only=True)
class LakeProof:
    """What the demo of every dataset proves: that the lake was filled and equals the database.

    Attributes:
        lake_rows: number of rows written to each table, by `layer/table`.
        published: number of rows in each folder or key outside the lake's tables, by its name.
        lake_verdict: `equal`, `different`, `behind` or `failed`; empty before the comparison.
        lake_error: why the lake's part failed; empty if it did not.
        comparison: the lines that the comparison printed.
        seconds_per_phase: duration of each phase in seconds, in order.
    """

    lake_rows: dict[str, int] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    lake_verdict: str = ""
    lake_error: str = ""
    comparison: list[str] = field(default_factory=list)
    seconds_per_phase: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Total duration of all phases, in seconds."""
        return round(sum(self.seconds_per_phase.values()), 1)

    @property
    def stream_passed(self) -> bool:
        """Whether what comes before the lake passed."""
        raise NotImplementedError

    @property
    def lake_passed(self) -> bool:
        """Whether the lake was filled and equals the database."""
        return self.lake_verdict == "equal" and not self.lake_error

    @property
    def passed(self) -> bool:
        """Whether both parts of the demo passed."""
        return self.stream_passed and self.lake_passed

    def write(self, path: Path) -> None:
        """Write the proof to a JSON file, and create its folder if missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        figures = {**asdict(self), "seconds": self.seconds, "stream_passed": self.stream_passed, "passed": self.passed}
        path.write_text(json.dumps(figures, indent=2) + "\n")

    def lines(self) -> list[str]:
        """Format the whole proof as lines of text: what the demo's last screen shows."""
        phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds_per_phase.items())
        timing = f"seconds: {phases}; {self.seconds:.1f} in all"
        return [*self.stream_lines(), *self.lake_lines(), *_wrapped(timing), self.conclusion()]

    def stream_lines(self) -> list[str]:
        """Format the result of what comes before the lake as lines of text."""
        raise NotImplementedError

    def lake_lines(self) -> list[str]:
        """Format the result of the lake's part as lines of text: a line per layer, and more only if it failed."""
        lines = []
        for layer in LAYERS:
            rows = {name.partition("/")[2]: n for name, n in self.lake_rows.items() if name.startswith(f"{layer}/")}
            if rows:
                lines += _wrapped(f"rows in {layer:<8} " + ", ".join(f"{name} {n:,}" for name, n in rows.items()))
        if self.published:
            lines += _wrapped("rows for others: " + ", ".join(f"{name} {n:,}" for name, n in self.published.items()))
        lines.append(f"the lake against the database        {self.lake_verdict or 'not compared':>10}")
        if self.lake_error:
            lines += self.lake_error.splitlines()[-_REPORT_LINES:]
        elif not self.lake_passed:
            lines += self.comparison[-_REPORT_LINES:]
        return lines

    def conclusion(self) -> str:
        """Format the verdict as one line."""
        raise NotImplementedError


@dataclass(kw_only=True)
class Proof(LakeProof):
    """Measurements and verdicts of the demo of a dataset with complete orders."""

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

    @property
    def stream_passed(self) -> bool:
        """Whether `order_final` equals the database: no order is missing, repeated or different."""
        return self.complete_orders > 0 and not (self.missing or self.duplicates or self.different)

    def stream_lines(self) -> list[str]:
        """Format the result of the stream's part as lines of text."""
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
        ]

    def conclusion(self) -> str:
        """Format the verdict as one line."""
        if self.passed:
            return "PASSED: order_final has every complete order exactly once, and the lake equals the database"
        stream = "passed" if self.stream_passed else "failed"
        return f"FAILED: the stream's part {stream}, the lake's part {'passed' if self.lake_passed else 'failed'}"


@dataclass(kw_only=True)
class ChangesProof(LakeProof):
    """Measurements and verdicts of the demo of any other dataset: its changes, captured, archived and counted.

    Attributes:
        rows: number of rows loaded before the connector was created.
        operations: the simulation's own summary.
        captured: number of records in the change topics.
        archived: number of records in the archive.
        connect_away_s: seconds from the kill of Connect until it answered again.
        archive_away_s: seconds from the kill of the archive's worker until it was ready again.
        raw: name of the folder with the archive's records as plain files; None if the dataset has none.
        warehouse, figures: what the other two workers kept; None for a dataset that has none.
    """

    rows: int = 0
    operations: str = ""
    captured: int = 0
    archived: int = 0
    connect_away_s: float = 0.0
    archive_away_s: float = 0.0
    raw: str | None = None
    warehouse: WarehouseProof | None = field(default_factory=WarehouseProof)
    figures: FiguresProof | None = field(default_factory=FiguresProof)

    @property
    def archive_passed(self) -> bool:
        """Whether there are changes after the snapshot, and the archive has as many records as the topics."""
        return self.captured > self.rows > 0 and self.captured == self.archived

    @property
    def lake_passed(self) -> bool:
        """Whether the lake equals the database, and the plain files have each record of the archive once."""
        return super().lake_passed and (self.raw is None or self.published.get(self.raw) == self.archived)

    @property
    def stream_passed(self) -> bool:
        """Whether archive, warehouse and figures have every change."""
        return self.archive_passed and all(part.is_equal for part in self._sinks.values())

    @property
    def _sinks(self) -> dict[str, WarehouseProof | FiguresProof]:
        parts = {"warehouse": self.warehouse, "figures": self.figures}
        return {name: part for name, part in parts.items() if part is not None}

    def stream_lines(self) -> list[str]:
        """Format the result of what comes before the lake as lines of text."""
        return [
            f"rows loaded, read by the snapshot      {self.rows:>10,}",
            f"changes in Kafka, snapshot included    {self.captured:>10,}",
            f"changes in the archive                 {self.archived:>10,}",
            f"Connect killed (SIGKILL), away for     {self.connect_away_s:>10.1f} s",
            f"archive worker killed, away for        {self.archive_away_s:>10.1f} s",
            *_wrapped(f"simulated life: {self.operations}"),
            *(line for part in self._sinks.values() for line in part.lines()),
        ]

    def conclusion(self) -> str:
        """Format the verdict as one line."""
        if self.passed:
            found = (
                "archived and counted once; warehouse and lake equal"
                if self._sinks
                else "archived once; the lake equals"
            )
            return f"PASSED: every change is {found} the database"
        sinks = {name: part.is_equal for name, part in self._sinks.items()}
        parts = {"archive": self.archive_passed, **sinks, "lake": self.lake_passed}
        return "FAILED: " + ", ".join(f"{name} {'passed' if passed else 'failed'}" for name, passed in parts.items())


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, LINE_WIDTH, subsequent_indent="    ", break_long_words=False)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]
