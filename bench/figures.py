"""Compute medians and ratios of the stream runs, and format them as a table; this module does no I/O."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

MOST_FOREIGN: Final = 0.10
"""Maximum share of the machine (0 to 1) that other programs may use during a run. The benchmark repeats a run that
exceeds the share, and marks the run if repeating does not help."""

OURS: Final = ("millrace", "exactly_once")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of one run of a system, or the medians of several runs.

    Attributes:
        share: share of the input's orders that the system was given.
        events: number of input records that the system was given.
        events_per_s: `events` divided by `run_s`.
        startup_s: time from the start of the system's process to its first processed event.
        run_s: time from the first processed event until a read-committed consumer saw the last output.
        outputs_s: time from the first visible output to the last.
        total_s: time from the start of the system's process to the last visible output.
        cpu_s: processor seconds of all the system's processes, including start-up.
        rss_mb: peak resident memory of all the system's processes together, in MiB.
        server_cpu_s: processor seconds of Kafka and Redis during the run.
        meter_cpu_s: processor seconds of the measuring process during the run.
        foreign_cpu: share of the machine (0 to 1) used by all other programs.
        wrong: number of outputs that have wrong products or belong to unexpected orders.
        commit_ms: interval in ms at which the system commits, if that is a part of what is compared; otherwise 0.
    """

    system: str
    mode: str
    threads: int
    input: str
    share: float
    events: int
    events_per_s: float
    startup_s: float
    run_s: float
    outputs_s: float
    total_s: float
    cpu_s: float
    rss_mb: float
    server_cpu_s: float
    meter_cpu_s: float
    foreign_cpu: float
    outputs: int
    missing: int
    duplicates: int
    wrong: int
    commit_ms: int = 0
    runs: int = 1

    @property
    def name(self) -> str:
        """The system's name, with the interval of its commits if there is one."""
        return f"{self.system}, {self.commit_ms} ms" if self.commit_ms else self.system

    @property
    def disturbed(self) -> bool:
        """Whether other programs used so much of the machine that the figures are doubtful."""
        return self.foreign_cpu > MOST_FOREIGN

    @property
    def cpu_us_per_event(self) -> float:
        """Processor time per input record, in microseconds."""
        return self.cpu_s * 1e6 / self.events

    def as_json(self) -> dict[str, Any]:
        """Convert the figures to JSON data."""
        figures = {name: round(v, 4) if isinstance(v, float) else v for name, v in vars(self).items()}
        return figures | {"disturbed": self.disturbed, "cpu_us_per_event": round(self.cpu_us_per_event, 2)}


_WORST: Final = ("missing", "duplicates", "wrong", "foreign_cpu")
"""Figures whose maximum is reported instead of the median, because an order lost in any run must be visible."""

_COUNTS: Final = ("threads", "events", "outputs", "commit_ms")


def median_of(runs: Sequence[Figures]) -> Figures:
    """Compute the medians over several runs of one system on one input."""
    values: dict[str, Any] = {}
    for name, first in vars(runs[0]).items():
        found = [getattr(run, name) for run in runs]
        if name in _WORST:
            values[name] = max(found)
        elif name in _COUNTS:
            values[name] = statistics.median_low(found)
        else:
            values[name] = first if isinstance(first, str) else statistics.median(found)
    return Figures(**{**values, "runs": len(runs)})


def medians(runs: Iterable[Figures]) -> list[Figures]:
    """Compute the medians for each combination of input and system, in the order of the first runs."""
    groups: dict[tuple[str, str, str, int, int], list[Figures]] = {}
    for run in runs:
        groups.setdefault((run.input, run.system, run.mode, run.threads, run.commit_ms), []).append(run)
    return [median_of(group) for group in groups.values()]


def least_disturbed(tries: Sequence[Figures]) -> Figures:
    """Return the attempt during which other programs used the smallest share of the machine."""
    return min(tries, key=lambda run: run.foreign_cpu)


def ratio(value: float, ours: float | None) -> str:
    """Format the ratio of a figure to Millrace's figure; empty if Millrace's is missing or zero."""
    return "" if not ours else f"{value / ours:.2f}"


_HEAD: Final = (
    "input", "system", "mode", "threads", "events/s", "×", "CPU µs/event", "×", "RSS MB", "×", "start s",
    "outputs", "missing", "twice", "wrong", "foreign",
)  # fmt: skip
_TEXT_COLUMNS: Final = 3


def table(rows: Sequence[Figures]) -> list[str]:
    """Format the results as a table, fastest system first within each input; × is the ratio to Millrace."""
    cells: list[Sequence[str]] = [_HEAD]
    for name in dict.fromkeys(row.input for row in rows):
        of_input = sorted((row for row in rows if row.input == name), key=lambda row: -row.events_per_s)
        ours = next((row for row in of_input if (row.system, row.mode) == OURS), None)
        cells += [_cells(row, ours) for row in of_input]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    return ["  ".join(_aligned(line, widths)).rstrip() for line in cells]


def _cells(row: Figures, ours: Figures | None) -> tuple[str, ...]:
    return (
        row.input if row.share == 1 else f"{row.input} ({row.share:.0%} of it)",
        row.name,
        row.mode,
        str(row.threads),
        f"{row.events_per_s:,.0f}",
        ratio(row.events_per_s, None if ours is None else ours.events_per_s),
        f"{row.cpu_us_per_event:.1f}",
        ratio(row.cpu_us_per_event, None if ours is None else ours.cpu_us_per_event),
        f"{row.rss_mb:,.0f}",
        ratio(row.rss_mb, None if ours is None else ours.rss_mb),
        f"{row.startup_s:.1f}",
        f"{row.outputs:,}",
        f"{row.missing:,}",
        f"{row.duplicates:,}",
        f"{row.wrong:,}",
        f"{row.foreign_cpu:.0%}{' !' if row.disturbed else ''}",
    )


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.ljust(width) if column < _TEXT_COLUMNS else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
