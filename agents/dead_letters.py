"""Dead letters of all agents: the raw record, its origin, and the reason why it could not be processed."""

from __future__ import annotations

from typing import Final

from streams.runtime.partition.batch import OutputRecord, SourceRecord
from streams.topics import LEFT_OUT_HEADER

LARGEST_KEPT_BYTES: Final = 14 * 1024 * 1024
"""Maximum size of the value in a dead letter. The topic accepts records up to 16 MiB before compression; the limits of
source topics apply after compression, so their uncompressed records may be far larger."""


def dead_letter(topic: str, record: SourceRecord, reason: str, *, app_id: str) -> OutputRecord:
    """Build the dead letter of a record, with its key and value unchanged.

    The headers are strings: `reason`, `app` (the application id), and the record's original `topic`, `partition`,
    `offset` and `timestamp` (milliseconds since 1970). A value above `LARGEST_KEPT_BYTES` is left out; the header
    `left_out` then contains its size in bytes, and the value can still be read from the original topic.
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
