"""From the text of an argument to its value; the errors say how it is written."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from typing import Final

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def interval(text: str) -> float:
    """Seconds of `10s`, `5m`, `1h`, `7d`, or plain seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if found is None or float(found[1]) <= 0:
        raise ArgumentTypeError(f"invalid interval {text!r}: use 10s, 5m, 1h or 7d")
    return float(found[1]) * _UNITS[found[2]]


def moment(text: str) -> datetime:
    """A time of the command line; UTC unless it says otherwise."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"invalid time {text!r}: use a form such as 2025-01-31T12:00") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"invalid count {text!r}: use a whole number above 0")
    return int(text)
