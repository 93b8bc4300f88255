"""All fields of one dead letter, as text for people and as JSON data for programs."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from ops.dead_letters.letter import DeadLetter
from ops.dead_letters.printing import bytes_text, hex_dump, is_text, moment, printable

LETTER_MEMBERS: Final = (
    "the letter: `place`, `written_ms`, `reason`, `app`, `origin` (`topic`, `partition`, `offset` and `timestamp_ms`; "
    "or null, with the `fault`), `key`, `value`, and `headers` as a list of `name` and `value`; bytes are an object "
    "with `text`, or with `base64` if they are not UTF-8"
)


def letter_lines(letter: DeadLetter) -> Iterator[str]:
    """Yield the lines that show a letter on a terminal."""
    origin = letter.origin
    lines = [
        ("where", f"{letter.place}"),
        ("written", moment(letter.written_ms)),
        ("reason", printable(letter.reason)),
        ("app", printable(letter.app)),
        ("origin", f"unknown: {letter.fault}" if origin is None else printable(str(origin))),
        ("origin time", "-" if origin is None else moment(origin.timestamp_ms)),
        ("key", bytes_text(letter.key)),
    ]
    for name, text in lines:
        yield f"{name + ':':<13}{text}"
    for header, raw in letter.headers:
        yield f"{'header:':<13}{printable(header)} = {bytes_text(raw)}"
    value = letter.value
    if value is None:
        yield f"{'value:':<13}none"
    elif is_text(value):
        yield f"{'value:':<13}{len(value)} bytes, text"
        yield bytes_text(value)
    else:
        yield f"{'value:':<13}{len(value)} bytes, not UTF-8"
        yield from hex_dump(value)


def letter_members(letter: DeadLetter) -> dict[str, Any]:
    """Return a letter as JSON data that keeps every byte."""
    return {
        "place": str(letter.place),
        "written_ms": letter.written_ms,
        "reason": letter.reason,
        "app": letter.app,
        "origin": None if letter.origin is None else asdict(letter.origin),
        "fault": letter.fault,
        "key": _bytes(letter.key),
        "value": _bytes(letter.value),
        "headers": [{"name": name, "value": _bytes(raw)} for name, raw in letter.headers],
    }


def _bytes(raw: bytes | None) -> dict[str, str] | None:
    if raw is None:
        return None
    return {"text": raw.decode()} if is_text(raw) else {"base64": base64.b64encode(raw).decode()}
