"""The table of `locks list`: number of locks and times to live, by application and incarnation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_FOREVER_S: Final = 2**31


@dataclass
class Group:
    """Lock counts and times to live for one incarnation of an application, or for all locks without an owner."""

    claimed: int = 0
    emitted: int = 0
    other: int = 0
    shortest_s: int = _FOREVER_S
    longest_s: int = -1

    def add(self, state: str, seconds: int) -> None:
        """Count one lock; `seconds` is its time to live, negative if the lock never expires."""
        if state in ("claimed", "emitted"):
            setattr(self, state, getattr(self, state) + 1)
        else:
            self.other += 1
        lasts = seconds if seconds >= 0 else _FOREVER_S
        self.shortest_s, self.longest_s = min(self.shortest_s, lasts), max(self.longest_s, lasts)


def format_groups(groups: dict[tuple[str, str], Group]) -> str:
    """Format the groups as a table with one line per owner (application and incarnation)."""
    rows = [("APPLICATION", "INCARNATION", "CLAIMED", "EMITTED", "OTHER", "SHORTEST", "LONGEST")]
    for (app_id, incarnation), group in sorted(groups.items()):
        counts = (str(group.claimed), str(group.emitted), str(group.other))
        rows.append((app_id, incarnation or "-", *counts, duration(group.shortest_s), duration(group.longest_s)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def group_members(groups: dict[tuple[str, str], Group]) -> list[dict[str, Any]]:
    """Return the groups as JSON data; locks without an owner have no app, and locks that never expire no time."""
    return [
        {
            "app": None if app_id.startswith("(") else app_id,
            "incarnation": incarnation or None,
            "claimed": group.claimed,
            "emitted": group.emitted,
            "other": group.other,
            "shortest_s": _finite(group.shortest_s),
            "longest_s": _finite(group.longest_s),
        }
        for (app_id, incarnation), group in sorted(groups.items())
    ]


def _finite(seconds: int) -> int | None:
    return seconds if 0 <= seconds < _FOREVER_S else None


def duration(seconds: int) -> str:
    """Format a time to live in seconds, as in `2d 01:00:30`; "forever" if the lock never expires."""
    if not 0 <= seconds < _FOREVER_S:
        return "forever"
    days, rest = divmod(seconds, 86_400)
    return f"{days}d {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
