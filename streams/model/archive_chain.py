"""The archive of raw changes as chains of objects, one for each topic partition: their names, and the way along them.

An object holds what was read from one offset on, its `start`, up to its last record. Its name tells its start, its
metadata the offset of its last record. The first object of a chain has start 0, even if Kafka's first record has a
later offset, and every other one starts right after the last record of the one before it. Offsets between two records
belong to no record (Kafka's transaction markers), so a start need not be a record's offset.

Nobody puts an object except at the end of the chain as he knows it, and none is ever put over another. So for each
start there is one object at most, and all of them are on one chain: objects of rival owners cannot overlap.

A reader who has read everything below `position` takes as the next object the one with the greatest start that is not
above it, if that one reaches it, leaves out its records below `position`, and goes on after its last record. This is
the chain itself, as long as nobody deletes an object. One that was deleted is archived again, and then may overlap
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
    """An object is missing from a chain: what comes after it is not read."""


class Piece(NamedTuple):
    """One object: its start, and the offset of its last record."""

    start: int
    last: int


def partition_folder(topic: str, partition: int) -> str:
    """The folder of a chain, with a slash at its end."""
    return f"{FOLDER}/{topic}/{partition:05d}/"


def object_name(topic: str, partition: int, start: int) -> str:
    """The name of an object; names sort as starts do."""
    return f"{partition_folder(topic, partition)}{start:0{_DIGITS}d}{_SUFFIX}"


def before_object(topic: str, partition: int, start: int) -> str:
    """A text that sorts right before the name of an object, for listings that begin after a name."""
    return object_name(topic, partition, start).removesuffix(_SUFFIX)


def start_of(name: str) -> int | None:
    """The start that an object's name tells, None if it is no name of an object."""
    digits = name.rpartition("/")[2].removesuffix(_SUFFIX)
    is_name = name.endswith(_SUFFIX) and len(digits) == _DIGITS and digits.isascii() and digits.isdigit()
    return int(digits) if is_name else None


def walk(starts: Iterable[int], last_of: Callable[[int], int], *, position: int = 0) -> Iterator[Piece]:
    """The objects to read from `position` on, in their order; records below what was read are to be left out.

    Args:
        starts: of all objects of the chain; those far below `position` may be missing.
        last_of: answers the offset of the last record of the object with this start.

    Raises:
        ChainBrokenError: there are objects further on, but none for the next offset.
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
