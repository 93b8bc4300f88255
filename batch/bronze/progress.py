"""How far a Bronze table is, as its commits say it.

Feed `changes`: the next offset of each `topic/partition`. Feed `jdbc`: the `anchor` up to which the source was read,
the `start` of the last window (None if all was read), and the last `sequence`, in microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def positions(progress: Mapping[str, Any], topic: str) -> dict[int, int]:
    """The next offset of each partition of a topic."""
    found = {}
    for name, offset in progress.items():
        of, slash, partition = name.rpartition("/")
        if slash and of == topic:
            found[int(partition)] = int(offset)
    return found


def with_positions(progress: Mapping[str, Any], topic: str, offsets: Mapping[int, int]) -> dict[str, Any]:
    """The progress with other next offsets for some partitions of a topic."""
    return {**progress, **{f"{topic}/{partition}": offset for partition, offset in sorted(offsets.items())}}


def anchor(progress: Mapping[str, Any]) -> str:
    """Rows whose cursor is before this time were read; the canonical text of a time, empty if nothing was read yet."""
    return str(progress.get("anchor") or "")
