"""The only writer of `dead_letters`: the raw record, its origin, and why it could not be processed."""

from __future__ import annotations

from typing import Final

from streams.runtime.partition.batch import OutputRecord, SourceRecord
from streams.topics import LEFT_OUT_HEADER

LARGEST_KEPT_BYTES: Final = 14 * 1024 * 1024
"""The topic takes 16 MiB of what is sent, and a source topic takes what its compression makes of far more."""


def dead_letter(topic: str, record: SourceRecord, reason: str, *, app_id: str) -> OutputRecord:
    """Key and value as they came; headers: `reason`, `app`, and the origin's `topic`, `partition`, `offset` and
    `timestamp` (milliseconds), as text. Of a record that Kafka might not take a second time the value is left out, and
    `left_out` tells its size in bytes: the origin has it.
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
