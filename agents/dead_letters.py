"""Building of dead letters for all agents: the raw record, its origin, and why it could not be processed."""

from __future__ import annotations

from typing import Final

from streams.runtime.partition.batch import OutputRecord, SourceRecord
from streams.topics import LEFT_OUT_HEADER

LARGEST_KEPT_BYTES: Final = 14 * 1024 * 1024
"""Largest value that a dead letter keeps. The topic accepts 16 MiB before compression; a source topic's limit applies
to compressed records, which may be far larger uncompressed."""


def dead_letter(topic: str, record: SourceRecord, reason: str, *, app_id: str) -> OutputRecord:
    """Build the dead letter of a record, with its key and value unchanged.

    The headers, all text, are `reason`, `app`, and the origin's `topic`, `partition`, `offset` and `timestamp`
    (milliseconds). A value that Kafka might not accept a second time is left out, and the header `left_out` states its
    size in bytes; it can be read at the origin.
    """
    headers = {
        "reason": reason,
        "app": app_id,
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp": str(record.timestamp),
    }
    value = record.value
    if value is not None and len(value) > LARGEST_KEPT_BYTES:
        headers[LEFT_OUT_HEADER] = str(len(value))
        value = None
    return OutputRecord(topic, record.key, value, tuple((name, text.encode()) for name, text in headers.items()))
