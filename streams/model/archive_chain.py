"""Object names of the change archive, and the rule for reading the archived records of a topic partition.

The archive objects of a partition form a chain, in which each object starts where its predecessor ended. An object
contains the records from its `start` offset to its last record. Its name contains the start, and its metadata contains
the offset of the last record. The first object of a chain has start 0, even if Kafka's first record has a later offset;
every other start is the predecessor's last offset + 1. Some offsets belong to no record (Kafka's transaction markers),
so a start need not be the offset of a record.

A writer adds objects only at the end of the chain that it knows, and never overwrites an object. So at most one object
has a given start, and two concurrent writers of a partition cannot create overlapping objects.

A reader that has read everything below `position` continues with the object that has the greatest start up to
`position`, if that object's last record is at `position` or later. The reader skips the object's records below
`position`, and continues after its last record. As long as no object is deleted, this rule visits the chain in order.
The records of a deleted object are archived again, in an object that may overlap later objects; the reader still reads
each record once.
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
TOPIC_ID: Final = "topic-id"
"""Metadata key of an object: the id of the topic that its records were read from; missing if it was unknown."""

_SUFFIX: Final = ".parquet"
_DIGITS: Final = 20


class ChainBrokenError(Exception):
    """Error raised when an object is missing from a chain; later objects are not read."""


class Piece(NamedTuple):
    """One object of a chain: its start offset, and the offset of its last record."""

    start: int
    last: int


def partition_folder(topic: str, partition: int) -> str:
    """Return the folder of a partition's objects, with a trailing slash."""
    return f"{FOLDER}/{topic}/{partition:05d}/"


def object_name(topic: str, partition: int, start: int) -> str:
    """Return the name of the object with this start offset; names sort in the order of their starts."""
    return f"{partition_folder(topic, partition)}{start:0{_DIGITS}d}{_SUFFIX}"


def object_metadata(last: int, records: int, topic_id: str | None) -> dict[str, str]:
    """Return the metadata of an object whose last record has the offset `last`."""
    metadata = {LAST_OFFSET: str(last), RECORDS: str(records)}
    return metadata if topic_id is None else {**metadata, TOPIC_ID: topic_id}


def before_object(topic: str, partition: int, start: int) -> str:
    """Return a string that sorts just before the name of an object, for a listing that begins with this object."""
    return object_name(topic, partition, start).removesuffix(_SUFFIX)


def start_of(name: str) -> int | None:
    """Return the start offset in the name of an archive object, or None if it is the name of something else."""
    digits = name.rpartition("/")[2].removesuffix(_SUFFIX)
    is_name = name.endswith(_SUFFIX) and len(digits) == _DIGITS and digits.isascii() and digits.isdigit()
    return int(digits) if is_name else None


def walk(starts: Iterable[int], last_of: Callable[[int], int], *, position: int = 0) -> Iterator[Piece]:
    """Yield the objects to read from `position` on, in order; the caller must skip records that it has already read.

    Args:
        starts: start offsets of all objects of the chain; those far below `position` may be left out.
        last_of: function that returns the offset of the last record of the object with a given start.

    Raises:
        ChainBrokenError: there are later objects, but none that contains the next offset.
    """
    known = sorted(starts)
    while index := bisect_right(known, position):
        last = last_of(known[index - 1])
        if last < position:
            break
        yield Piece(known[index - 1], last)
        position = last + 1
        if position > known[-1] and index == len(known):
            return  # the last object of the chain was yielded
    if known and known[-1] > position:
        raise ChainBrokenError(
            f"no object contains offset {position}, but a later object starts at {known[-1]}: restore the missing "
            "object, or stop the archive's workers, delete their consumer group, and start them again to fill the gap"
        )
