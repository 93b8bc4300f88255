"""Goal: the example's consumer keeps the newest of each order, however the two topics are read beside each other.

Method: its own function on an SQLite database in memory, over every interleaving of a few records.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from confluent_kafka import Message

from examples.consume_orders import AMENDED, FINAL, SCHEMA, keep
from streams.topics import ORDER_AMENDED, ORDER_FINAL


@dataclass(frozen=True)
class Record:
    """A message as the consumer reads it."""

    of_topic: str
    at: int
    order: dict[str, Any]

    def topic(self) -> str:
        return self.of_topic

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return self.at

    def value(self) -> bytes:
        return json.dumps(self.order).encode()


def final(at: int) -> Record:
    return Record(FINAL, at, {"order_id": "A", "store_id": at})


def amended(at: int, revision: int, status: str = "complete") -> Record:
    return Record(AMENDED, at, {"order_id": "A", "store_id": at, "status": status, "revision": revision})


def kept(records: list[Record]) -> tuple[Any, ...]:
    database = sqlite3.connect(":memory:")
    database.executescript(SCHEMA)
    for record in records:
        keep(database, cast(Message, record))
    [row] = database.execute("SELECT status, revision, json_extract(value, '$.store_id') FROM orders").fetchall()
    offsets = dict(database.execute("SELECT topic, next FROM offsets").fetchall())
    assert offsets == {record.topic(): record.offset() + 1 for record in records}
    database.close()
    return tuple(row)


def interleavings(first: list[Record], second: list[Record]) -> Iterator[list[Record]]:
    """Every order in which two topics can be read, each in its own order."""
    for places in itertools.combinations(range(len(first) + len(second)), len(first)):
        left, right = iter(first), iter(second)
        yield [next(left) if place in places else next(right) for place in range(len(first) + len(second))]


@pytest.mark.parametrize(
    ("amendments", "newest"),
    [
        ([], ("complete", 0, 7)),
        ([amended(4, 1), amended(9, 2)], ("complete", 2, 9)),
        ([amended(4, 1, "incomplete"), amended(9, 2, "deleted")], ("deleted", 2, 9)),
        ([amended(4, 1), amended(5, 2), amended(9, 1, "incomplete")], ("incomplete", 1, 9)),
    ],
    ids=["never amended", "amended", "deleted", "revisions began again"],
)
def test_the_newest_is_kept_however_the_topics_are_read(amendments: list[Record], newest: tuple[Any, ...]) -> None:
    for records in interleavings([final(7)], amendments):
        assert kept(records) == newest


def test_reading_all_of_it_again_changes_nothing() -> None:
    records = [final(7), amended(4, 1), amended(9, 2, "deleted")]
    assert kept([*records, *records]) == ("deleted", 2, 9)


def test_it_reads_the_topics_of_the_catalogue() -> None:
    assert (FINAL, AMENDED) == (ORDER_FINAL, ORDER_AMENDED)
