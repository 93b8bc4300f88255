"""The archive of raw changes as chains of objects, one per topic partition: object names, and how to read a chain.

An object contains the records from one offset, its `start`, up to its last record. Its name contains its start, its
metadata the offset of its last record. The first object of a chain has start 0, even if Kafka's first record has a
later offset; every other one starts right after the last record of its predecessor. Offsets between two records belong
to no record (Kafka's transaction markers), so a start need not be a record's offset.

A writer puts objects only at the end of the chain as it knows it, and never over another object. So each start has at
most one object, and all objects are on one chain: those of rival owners cannot overlap.

A reader that has read everything below `position` takes as the next object the one with the greatest start that is not
above it, if that object reaches it; it skips records below `position`, and continues after the object's last record.
This is the chain itself, as long as nobody deletes an object. A deleted one is archived again, and may then overlap
with its successors: by this rule each record is still read once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

FOLDER: Final = "changes"
LAST_OFFSET: Final = "last-offset"
"""Name of an object's metadata: offset of its last record."""
RECORDS: Final = "records"
"""Name of an object's metadata: number of its records."""

_SUFFIX: Final = ".parquet"
_DIGITS: Final = 20


class ChainBrokenError(Exception):
    """An object is missing from a chain; later objects are not read."""


class Piece(NamedTuple):
    """One object: its start, and the offset of its last record."""

    start: int
    last: int


def partition_folder(topic: str, partition: int) -> str:
    """Folder of a chain, with a trailing slash."""
    return f"{FOLDER}/{topic}/{partition:05d}/"


def object_name(topic: str, partition: int, start: int) -> str:
    """Name of an object; names sort like their starts."""
    return f"{partition_folder(topic, partition)}{start:0{_DIGITS}d}{_SUFFIX}"


def before_object(topic: str, partition: int, start: int) -> str:
    """A text that sorts directly before the name of an object, for listings that begin after a name."""
    return object_name(topic, partition, start).removesuffix(_SUFFIX)


def start_of(name: str) -> int | None:
    """Start in an object's name, None if the name is not one of an object."""
    digits = name.rpartition("/")[2].removesuffix(_SUFFIX)
    is_name = name.endswith(_SUFFIX) and len(digits) == _DIGITS and digits.isascii() and digits.isdigit()
    return int(digits) if is_name else None


def walk(starts: Iterable[int], last_of: Callable[[int], int], *, position: int = 0) -> Iterator[Piece]:
    """The objects to read from `position`, in order; records below what was read are to be skipped.

    Args:
        starts: starts of all objects of the chain; those far below `position` may be missing.
        last_of: returns the offset of the last record of the object with this start.

    Raises:
        ChainBrokenError: later objects exist, but none with the next offset.
    """
    known = sorted(starts)
    while index := bisect_right(known, position):
        last = last_of(known[index - 1])
        if last < position:
            break
        yield Piece(known[index - 1], last)
        position = last + 1
        if position > known[-1] and index == len(known):
            return  # the newest object was the last one: there is nothing to ask for
    if known and known[-1] > position:
        raise ChainBrokenError(
            f"no object holds offset {position}, but there is one that starts at {known[-1]}: restore the object that "
            "is missing, or end the archive's workers and delete their consumer group, and they archive it again"
        )
