"""Functions that print lines and format tables for standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

Say = Callable[[str], None]


def print_out(line: str) -> None:
    """Print a line and flush standard output, so that the line appears immediately."""
    print(line, flush=True)


def print_error(line: str) -> None:
    """Print a line to standard error, for progress of a command whose standard output is for a program."""
    print(line, file=sys.stderr, flush=True)


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Format rows of strings as an aligned table; columns whose index is in `right` are right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
