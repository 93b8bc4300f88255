"""Dead letters as rows of the warehouse's table `dlq_events`.

Any producer may write any content to the topic, so whatever its headers say, a letter becomes a row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from streams.model.change import LATEST_MS

REPLAYED_HEADER: Final = "replayed"
"""Header of a note that a dead letter was replayed; the note has neither key nor value, and is no dead letter."""

LONGEST_NAME: Final = 255
"""Longest name of an application or a topic that is kept, since both are part of the table's key."""

_WHOLE: Final = re.compile(r"[0-9]{1,18}")
_NUMBERS: Final = ("partition", "offset", "timestamp")
_MOST_PARTITIONS: Final = 2**31 - 1


class Letter(Struct, gc=False):
    """A dead letter.

    Attributes:
        app: application that could not process the record.
        topic, partition, offset: origin of the record; that of the letter itself if its headers do not give one.
        recorded_ms: Kafka timestamp of the record, in milliseconds since 1970.
        written_ms: Kafka timestamp of the letter.
        headers: all headers of the letter, as a JSON array of pairs of name and text.
    """

    app: str
    topic: str
    partition: int
    offset: int
    recorded_ms: int
    written_ms: int
    reason: str
    key: bytes | None
    value: bytes | None
    headers: str


def letter_of(record: Any) -> Letter | None:
    """Return the dead letter in a record of the topic `dead_letters`; None if the record is the note of a replay."""
    pairs = [(_text(name), None if raw is None else _text(raw)) for name, raw in record.headers]
    texts = {name: text for name, text in pairs if text is not None}
    if record.key is None and record.value is None and REPLAYED_HEADER in texts:
        return None
    topic, partition, offset, recorded_ms = _origin(texts) or (
        record.topic,
        record.partition,
        record.offset,
        max(0, record.timestamp),
    )
    return Letter(
        app=texts.get("app", "")[:LONGEST_NAME],
        topic=topic,
        partition=partition,
        offset=offset,
        recorded_ms=recorded_ms,
        written_ms=max(0, record.timestamp),
        reason=texts.get("reason", ""),
        key=record.key,
        value=record.value,
        headers=msgspec.json.encode(pairs).decode(),
    )


def letter_arrays(letters: Sequence[Letter]) -> list[list[Any]]:
    """Return the values of dead letters by column, in the order of the struct's fields."""
    return [list(column) for column in zip(*map(msgspec.structs.astuple, letters), strict=True)]


def _origin(texts: dict[str, str]) -> tuple[str, int, int, int] | None:
    """Return topic, partition, offset and timestamp of the record; None unless the headers give all of them."""
    topic, numbers = texts.get("topic", ""), [texts.get(name, "") for name in _NUMBERS]
    if not topic or len(topic) > LONGEST_NAME or not all(map(_WHOLE.fullmatch, numbers)):
        return None
    partition, offset, recorded_ms = map(int, numbers)
    return (topic, partition, offset, min(recorded_ms, LATEST_MS)) if partition <= _MOST_PARTITIONS else None


def _text(raw: bytes | str) -> str:
    """Return a header as text that PostgreSQL can store, which cannot store NUL."""
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "backslashreplace")
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
