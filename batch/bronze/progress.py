"""The progress of a Bronze table: how far it has read its feed, as stored in its commits.

Feed `changes`: the next offset of each `topic/partition`. Feed `jdbc`: the `anchor`, a time up to which the source was
read; the `start` of the last window (None if the table was read completely); and the last `sequence`, in microseconds
since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def positions(progress: Mapping[str, Any], topic: str) -> dict[int, int]:
    """Return the next offset of each partition of a topic."""
    found = {}
    for name, offset in progress.items():
        of, slash, partition = name.rpartition("/")
        if slash and of == topic:
            found[int(partition)] = int(offset)
    return found


def with_positions(progress: Mapping[str, Any], topic: str, offsets: Mapping[int, int]) -> dict[str, Any]:
    """Return the progress with new next offsets for some partitions of a topic."""
    return {**progress, **{f"{topic}/{partition}": offset for partition, offset in sorted(offsets.items())}}


def anchor(progress: Mapping[str, Any]) -> str:
    """Return the canonical text of the time before which all rows were read; empty if nothing was read yet."""
    return str(progress.get("anchor") or "")
