"""Compact objects for fetched records, which save time and memory.

aiokafka creates an object with eleven fields for each record. A struct with seven of these fields, which the garbage
collector does not track, takes 0.2 µs per record instead of 0.8 µs. It also uses less memory while the record waits.
"""

from __future__ import annotations

from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.structs import TopicPartition
from msgspec import Struct


class FetchedRecord(Struct, gc=False):
    """A consumed record, with the same field names as aiokafka's `ConsumerRecord`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class LeanRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    """The records of one topic partition in a fetch response, created as `FetchedRecord`s."""

    def _consumer_record(self, tp: TopicPartition, record: Any) -> FetchedRecord:
        return FetchedRecord(
            tp.topic, tp.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
        )


def use_lean_records() -> None:
    """Make all aiokafka consumers in this process create `FetchedRecord`s, without support for deserializers."""
    fetcher.PartitionRecords = LeanRecords
