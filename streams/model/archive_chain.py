"""The archive of raw changes as chains of objects, one per topic partition: object names, and how to read a chain.

A chain is the sequence of a partition's objects, each of which starts where its predecessor ended. An object contains
the records from one offset, its `start`, to its last record. Its name contains the start, and its metadata the offset
of the last record. The first object of a chain has start 0, even if Kafka's first record has a later offset; every
other start is the predecessor's last offset + 1. Some offsets belong to no record (Kafka's transaction markers), so a
start need not be the offset of a record.

A writer puts objects only at the end of the chain as it knows it, and never overwrites an object. So each start has at
most one object, and the objects of rival owners cannot overlap: all of them are on one chain.

A reader that has read everything below `position` continues with the object that has the greatest start up to
`position`, if that object's last record is at `position` or later. The reader skips the object's records below
`position`, and continues after its last record. As long as no object is deleted, this is the chain itself. A deleted
object is archived again, and may then overlap its successors; with this rule, each record is still read once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

FOLDER: Final = "changes"
LAST_OFFSET: Final = "last-offset"
"""Metadata key of an object: the offset of its last record."""
RECORDS: Final = "records"
"""Metadata key of an object: the number of its records."""

_SUFFIX: Final = ".parquet"
_DIGITS: Final = 20


class ChainBrokenError(Exception):
    """An object is missing from a chain; later objects are not read."""


class Piece(NamedTuple):
    """One object of a chain: its start, and the offset of its last record."""

    start: int
    last: int


def partition_folder(topic: str, partition: int) -> str:
    """Folder of a partition's chain, with a trailing slash."""
    return f"{FOLDER}/{topic}/{partition:05d}/"


def object_name(topic: str, partition: int, start: int) -> str:
    """Name of an object; names sort like their starts."""
    return f"{partition_folder(topic, partition)}{start:0{_DIGITS}d}{_SUFFIX}"


def before_object(topic: str, partition: int, start: int) -> str:
    """A text that sorts directly before the name of an object, for listings that begin after a name."""
    return object_name(topic, partition, start).removesuffix(_SUFFIX)


def start_of(name: str) -> int | None:
    """Start in an object's name, None if it is not the name of an object of a chain."""
    digits = name.rpartition("/")[2].removesuffix(_SUFFIX)
    is_name = name.endswith(_SUFFIX) and len(digits) == _DIGITS and digits.isascii() and digits.isdigit()
    return int(digits) if is_name else None


def walk(starts: Iterable[int], last_of: Callable[[int], int], *, position: int = 0) -> Iterator[Piece]:
    """Yield the objects to read from `position`, in order; the caller skips the records that it has read already.

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
            return  # the newest object was yielded: no later one exists
    if known and known[-1] > position:
        raise ChainBrokenError(
            f"no object holds offset {position}, but there is one that starts at {known[-1]}: restore the missing "
            "object, or stop the archive's workers and delete their consumer group, so that they archive it again"
        )
