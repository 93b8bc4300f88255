"""Decode records of the topic `dead_letters`: dead letters with their origin, and notes that a letter was replayed.

Any producer may have written to the topic, so these functions do not raise on any content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streams.topics import LEFT_OUT_HEADER

REPLAYED: Final = "replayed"
"""Header of a replay note: the offset of the replayed letter, which is in the same partition as the note."""

Headers = Sequence[tuple[str, bytes | None]]

_WHOLE = re.compile(r"-?[0-9]{1,18}")


class RecordRef(NamedTuple):
    """Position of a record in the topic `dead_letters`; its text form is `partition:offset`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Topic, partition, offset and timestamp (milliseconds) of the record that could not be processed."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A record that could not be processed, with its original key, value and headers.

    Attributes:
        place: the letter's own position in `dead_letters`.
        written_ms: time when the letter was written to `dead_letters`, in milliseconds since 1970.
        reason: the reason that the application gave for not processing the record.
        app: id of the application that wrote the letter.
        left_out: size in bytes, as text, of a value that was too large to keep or to read; None if the value was kept.
        origin: position of the original record; None if the headers do not give a valid one.
        fault: the problem with those headers; None if `origin` is known.
    """

    place: RecordRef
    written_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    reason: str
    app: str
    left_out: str | None
    origin: Origin | None
    fault: str | None


@dataclass(frozen=True)
class ReplayNote:
    """A record stating that the dead letter at `place` was replayed."""

    place: RecordRef


def read_record(
    place: RecordRef, written_ms: int, key: bytes | None, value: bytes | None, headers: Headers
) -> DeadLetter | ReplayNote:
    """Decode a record of `dead_letters`; of several headers with the same name, the last one is used."""
    texts = {name: raw.decode("utf-8", "backslashreplace") for name, raw in headers if raw is not None}
    noted = texts.get(REPLAYED, "")
    if key is None and value is None and _WHOLE.fullmatch(noted):
        return ReplayNote(RecordRef(place.partition, int(noted)))
    origin, fault = None, None
    try:
        origin = _origin(texts)
    except ValueError as error:
        fault = str(error)
    return DeadLetter(
        place=place,
        written_ms=written_ms,
        key=key,
        value=value,
        headers=headers,
        reason=texts.get("reason", ""),
        app=texts.get("app", ""),
        left_out=texts.get(LEFT_OUT_HEADER) if not value else None,
        origin=origin,
        fault=fault,
    )


def _origin(texts: Mapping[str, str]) -> Origin:
    topic = texts.get("topic")
    if not topic:
        raise ValueError("header topic is missing")
    numbers = {}
    for name in ("partition", "offset", "timestamp"):
        if name not in texts:
            raise ValueError(f"header {name} is missing")
        if not _WHOLE.fullmatch(texts[name]):
            raise ValueError(f"header {name} is not a number")
        numbers[name] = int(texts[name])
    if numbers["partition"] < 0 or numbers["offset"] < 0:
        raise ValueError("headers partition and offset must not be negative")
    return Origin(
        topic=topic,
        partition=numbers["partition"],
        offset=numbers["offset"],
        timestamp_ms=numbers["timestamp"],
    )
