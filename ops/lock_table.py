"""The table of `locks list`: number of locks and times to live, by application and incarnation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Group:
    """Lock counts and times to live for one incarnation of an application, or for all locks without an owner."""

    claimed: int = 0
    emitted: int = 0
    other: int = 0
    shortest_s: int = 2**31
    longest_s: int = -1

    def add(self, state: str, seconds: int) -> None:
        """Count one lock; `seconds` is its time to live, negative if the lock never expires."""
        if state in ("claimed", "emitted"):
            setattr(self, state, getattr(self, state) + 1)
        else:
            self.other += 1
        lasts = seconds if seconds >= 0 else 2**31
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


def duration(seconds: int) -> str:
    """Format a time to live in seconds, as in `2d 01:00:30`; "forever" if the lock never expires."""
    if not 0 <= seconds < 2**31:
        return "forever"
    days, rest = divmod(seconds, 86_400)
    return f"{days}d {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
