"""Prints lines and formats tables for standard output."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Say = Callable[[str], None]


def print_out(line: str) -> None:
    """Print a line and flush the output, so that the line appears at once."""
    print(line, flush=True)


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Format rows of texts as a table; columns whose index is in `right` are aligned to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
