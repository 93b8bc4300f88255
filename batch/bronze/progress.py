"""The progress of a Bronze table: the position in its feed up to which it has been filled, as stored in its commits.

For the feed `changes`, this is the next offset of each `topic/partition`, the newest truncations of the table, and the
names of the columns that it has kept in `_rest`. For the feed `jdbc`, it is the `anchor`, a time up to which the source
was read; the `start` of the last window (None if it had no lower bound); the last `sequence`, in microseconds since
1970; and the names of the `columns` that were read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

SEQUENCE: Final = "sequence"
"""The entry of the feed `jdbc` for the sequence of the newest rows."""

_COLUMNS: Final = "columns"

TRUNCATED: Final = "truncated"
"""The entry for the newest truncations (`batch.bronze.truncation`)."""

KEPT: Final = "rest"
"""The entry for the columns that the definition lacks and the table keeps (`batch.bronze.rest`)."""

NO_POSITIONS: Final = frozenset({TRUNCATED, KEPT})
"""The entries of the feed `changes` that are no positions in the archive."""


def feed(progress: Mapping[str, Any]) -> str | None:
    """Return the feed from which the rows were filled that were committed with the progress; None if it names none."""
    if SEQUENCE in progress:
        return "jdbc"
    return "changes" if any("/" in name for name in progress) else None


def positions(progress: Mapping[str, Any], topic: str) -> dict[int, int]:
    """Return the next offset to land for each partition of a topic."""
    found = {}
    for name, offset in progress.items():
        of, slash, partition = name.rpartition("/")
        if slash and of == topic:
            found[int(partition)] = int(offset)
    return found


def with_positions(progress: Mapping[str, Any], topic: str, offsets: Mapping[int, int]) -> dict[str, Any]:
    """Return a copy of the progress, updated with the next offsets of some of a topic's partitions."""
    return {**progress, **{f"{topic}/{partition}": offset for partition, offset in sorted(offsets.items())}}


def anchor(progress: Mapping[str, Any]) -> str:
    """Return the canonical text of the time up to which the source was read; empty if it was never read."""
    return str(progress.get("anchor") or "")


def from_the_beginning(progress: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the progress of the feed `jdbc` without the time up to which the source was read."""
    return {name: value for name, value in progress.items() if name != "anchor"}


def columns(progress: Mapping[str, Any]) -> list[str] | None:
    """Return the columns that the last run of the feed `jdbc` read; None if it was one of a version before 0.3."""
    found = progress.get(_COLUMNS)
    return None if found is None else [str(name) for name in found]


def with_columns(progress: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a copy of the progress of the feed `jdbc` with the columns that a run has read."""
    return {**progress, _COLUMNS: [*names]}
