"""Dead letters of all agents: the raw record, its origin, and the reason why it could not be processed."""

from __future__ import annotations

from typing import Final

from streams.model.left_out import LeftOut
from streams.runtime.partition.batch import OutputRecord, SourceRecord
from streams.topics import KEY_LEFT_OUT_HEADER, LEFT_OUT_HEADER

LARGEST_KEPT_BYTES: Final = 14 * 1024 * 1024
"""Maximum size of the value in a dead letter. The topic accepts records up to 16 MiB before compression; the limits of
source topics apply after compression, so their uncompressed records may be far larger."""

LARGEST_KEPT_KEY_BYTES: Final = 1024 * 1024
"""Maximum size of the key in a dead letter. Together with the largest value, it fits into a record of the topic."""


def dead_letter(topic: str, record: SourceRecord, reason: str, *, app_id: str) -> OutputRecord:
    """Build the dead letter of a record, with its key and value unchanged.

    The headers are strings: `reason`, `app` (the application id), and the record's original `topic`, `partition`,
    `offset` and `timestamp` (milliseconds since 1970). A value above `LARGEST_KEPT_BYTES` and a key above
    `LARGEST_KEPT_KEY_BYTES` are left out; the headers `left_out` and `key_left_out` then contain their sizes in bytes,
    and they can still be read from the original topic.
    """
    headers = {
        "reason": reason,
        "app": app_id,
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp": str(record.timestamp),
    }
    key, value = record.key, record.value
    if isinstance(value, LeftOut):
        headers[LEFT_OUT_HEADER], value = value.size, None
    elif value is not None and len(value) > LARGEST_KEPT_BYTES:
        headers["reason"] = f"{reason} (the value is too large for a dead letter and was left out)"
        headers[LEFT_OUT_HEADER], value = str(len(value)), None
    if key is not None and len(key) > LARGEST_KEPT_KEY_BYTES:
        headers[KEY_LEFT_OUT_HEADER], key = str(len(key)), None
    if key is None and value is None and (record.key, record.value) != (None, None):
        value = b""  # producers do not accept a record without both
    return OutputRecord(topic, key, value, tuple((name, text.encode()) for name, text in headers.items()))
