"""Format the results as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stack.site import REPOSITORY
from tests.faults.result import Result

REPORT: Final = REPOSITORY / ".faults" / "report.json"
WIDTHS: Final = (4, 42, 6, 6, 9, 9, 9, 22, 6)
HEAD: Final = ("row", "fault", "lost", "twice", "first s", "every s", "lag 0 s", "broken", "")


def write(results: Sequence[Result], path: Path = REPORT) -> None:
    """Write the report again after every row, so that an interrupted run keeps its results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([result.as_dict() for result in results], indent=2) + "\n")


def lines(results: Sequence[Result]) -> list[str]:
    """Format the table."""
    return [_line(HEAD), *(_line(_cells(result)) for result in results)]


def line(result: Result) -> str:
    """Format one line of the table."""
    return _line(_cells(result))


def _cells(result: Result) -> Sequence[object]:
    broken = [name for name, holds in result.invariants.items() if not holds]
    verdict = "passed" if result.passed else "FAILED"
    if result.mutant:
        verdict = "caught" if result.passed else "MISSED"
    return (
        result.row,
        f"mutant {result.mutant}" if result.mutant else result.fault,
        *(_text(value) for value in (result.lost, result.twice)),
        *(_text(value) for value in (result.first_progress_s, result.every_partition_s, result.lag_zero_s)),
        "error" if result.error else ",".join(broken) or "-",
        verdict,
    )


def _text(value: float | None) -> str:
    return "-" if value is None else str(value)


def _line(cells: Sequence[object]) -> str:
    texts = [str(cell)[:width].ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)]
    return "  ".join(texts).rstrip()
