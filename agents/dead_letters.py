"""The one writer of `dead_letters`: the raw record, where it came from, and why it could not be processed."""

from __future__ import annotations

from streams.runtime.batch import OutputRecord, SourceRecord


def dead_letter(topic: str, record: SourceRecord, reason: str, *, app_id: str) -> OutputRecord:
    """Key and value as they came; headers: `reason`, `app`, and the origin's `topic`, `partition`, `offset` and
    `timestamp` (milliseconds), as text.
    """
    headers = {
        "reason": reason,
        "app": app_id,
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp": str(record.timestamp),
    }
    return OutputRecord(topic, record.key, record.value, tuple((name, text.encode()) for name, text in headers.items()))
