"""Compute medians of the lake's runs, ratios to the plain pipeline's first run, and verdicts, without I/O."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.figures import MOST_FOREIGN

MILLRACE: Final = "millrace"
PLAIN: Final = "plain_parquet"
FIRST: Final = "first"
NOTHING: Final = "nothing"
ONE_PERCENT: Final = "one_percent"
AS_AT_SIZE_1: Final = "as_at_size_1"
WARM_ONE_PERCENT: Final = "warm_one_percent"
WARM_NOTHING: Final = "warm_nothing"

CASES: Final = {
    FIRST: "the lake is empty",
    NOTHING: "nothing has changed since the previous run",
    ONE_PERCENT: "1 % of the customers and of the orders have changed",
    AS_AT_SIZE_1: "in a larger shop, as many orders have changed as 1 % of the orders at size 1",
    WARM_ONE_PERCENT: "a cycle of a running service, after 1 % of the customers and of the orders have changed",
    WARM_NOTHING: "a cycle of a running service, after no changes",
}
TARGETS: Final = {FIRST: 1.5, ONE_PERCENT: 0.55, NOTHING: 0.25, WARM_ONE_PERCENT: 0.3, WARM_NOTHING: 0.05}
"""Target for each case: the maximum ratio of Millrace's seconds to the plain pipeline's first run at the same size."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The figures of one run of a system in a case, or the medians of several runs.

    Attributes:
        size: scale of the dataset; 1 is 25,000 orders.
        seconds: time from the start of the first process to the end of the last process; for a cycle of a service,
            from taking the lease to writing the manifest.
        rows: number of rows in all Gold tables after the run, without the unknown members.
        changed: number of source rows that had changed since the system's previous run.
        rss_mb: peak resident memory of all the system's processes together, in MiB.
        cpu_s: processor seconds of all the system's processes.
        server_cpu_s: processor seconds of MariaDB, MinIO and Redis during the run.
        foreign_cpu: share of the machine (0 to 1) used by all other programs.
        wrong: names of the Gold tables that differ from the source.
    """

    system: str
    case: str
    size: float
    customers: int
    seconds: float
    rows: int
    changed: int
    rss_mb: float
    cpu_s: float
    server_cpu_s: float
    foreign_cpu: float
    wrong: tuple[str, ...] = ()
    runs: int = 1

    @property
    def disturbed(self) -> bool:
        """Whether other programs used so much of the machine that the time is doubtful."""
        return self.foreign_cpu > MOST_FOREIGN

    def as_json(self) -> dict[str, Any]:
        """Convert the row to JSON data."""
        figures = {name: round(v, 4) if isinstance(v, float) else v for name, v in vars(self).items()}
        return figures | {"wrong": list(self.wrong), "disturbed": self.disturbed}

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Row:
        """Read a row from JSON data."""
        known = {name: value for name, value in found.items() if name != "disturbed"}
        return cls(**{**known, "wrong": tuple(found["wrong"])})


Place = tuple[str, str, float, int]


def place_of(row: Row) -> Place:
    """Return the key of a row's measurement: system, case, size and number of customers."""
    return row.system, row.case, row.size, row.customers


def medians(runs: Iterable[Row]) -> list[Row]:
    """Compute one row of medians per measurement (`place_of`), in the order of the first runs."""
    groups: dict[Place, list[Row]] = {}
    for run in runs:
        groups.setdefault(place_of(run), []).append(run)
    return [_median(group) for group in groups.values()]


def _median(runs: Sequence[Row]) -> Row:
    values: dict[str, Any] = dict(vars(runs[0]))
    for name in ("seconds", "rss_mb", "cpu_s", "server_cpu_s"):
        values[name] = statistics.median(getattr(run, name) for run in runs)
    for name in ("rows", "changed"):
        values[name] = statistics.median_low(getattr(run, name) for run in runs)
    wrong = {name for run in runs for name in run.wrong}
    worst = max(run.foreign_cpu for run in runs)
    return Row(**{**values, "foreign_cpu": worst, "wrong": tuple(sorted(wrong)), "runs": len(runs)})


def merged(before: Iterable[Row], now: Iterable[Row]) -> list[Row]:
    """Merge two lists of rows, in which a new row replaces the earlier row of the same measurement."""
    found = {place_of(row): row for row in before}
    return list((found | {place_of(row): row for row in now}).values())


def base_of(rows: Iterable[Row], size: float, customers: int) -> Row | None:
    """Return the plain pipeline's first run at this size; None if there is none or its Gold tables were wrong."""
    wanted = (PLAIN, FIRST, size, customers)
    return next((row for row in rows if place_of(row) == wanted and not row.wrong), None)


_HEAD: Final = (
    "case",
    "system",
    "seconds",
    "×",
    "CPU s",
    "RSS MB",
    "servers' CPU s",
    "Gold rows",
    "changed",
    "foreign",
    "",
)


def table(rows: Sequence[Row]) -> list[str]:
    """Format the results as a table, in which × is the ratio to the first run of the plain pipeline."""
    cells: list[Sequence[str]] = [_HEAD]
    for case in CASES:
        cells += [_cells(row, base_of(rows, row.size, row.customers)) for row in rows if row.case == case]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    return ["  ".join(_aligned(line, widths)).rstrip() for line in cells]


def _cells(row: Row, base: Row | None) -> tuple[str, ...]:
    return (
        row.case if row.size == 1 else f"{row.case} (size {row.size:g})",
        row.system,
        f"{row.seconds:.1f}" if row.seconds >= 1 else f"{row.seconds:.3f}",
        "" if base is None else f"{row.seconds / base.seconds:.3f}",
        f"{row.cpu_s:.1f}",
        f"{row.rss_mb:,.0f}",
        f"{row.server_cpu_s:.1f}",
        f"{row.rows:,}",
        f"{row.changed:,}",
        f"{row.foreign_cpu:.0%}{' !' if row.disturbed else ''}",
        f"WRONG: {', '.join(row.wrong)}" if row.wrong else "",
    )


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    texts = (0, 1, len(_HEAD) - 1)
    return [
        cell.ljust(width) if column in texts else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Return one line for each target that was measured, saying whether Millrace reaches the target."""
    lines = []
    for row in rows:
        base = base_of(rows, row.size, row.customers)
        if row.system == MILLRACE and row.case in TARGETS and base is not None:
            ratio, most = row.seconds / base.seconds, TARGETS[row.case]
            is_reached = ratio <= most and not row.wrong
            word = "reached" if is_reached else "NOT reached"
            lines.append(f"{word}: {row.case} takes {ratio:.3f} of {PLAIN}'s first run; the target is at most {most:g}")
    return lines + _growth(rows)


def _growth(rows: Sequence[Row]) -> list[str]:
    """Return one line for each shop of another size, comparing the cost of a change with that at size 1."""
    ours = {(row.case, row.size, row.customers): row for row in rows if row.system == MILLRACE}
    lines = []
    for (case, size, customers), row in ours.items():
        small = ours.get((ONE_PERCENT, 1, customers))
        if size == 1 or small is None or case not in (ONE_PERCENT, AS_AT_SIZE_1):
            continue
        lines.append(
            f"{case} at size {size:g}: {row.changed / small.changed:.2f} times the rows of one_percent at size 1, "
            f"{row.seconds / small.seconds:.2f} times its seconds, {row.cpu_s / small.cpu_s:.2f} times its CPU"
        )
    return lines
