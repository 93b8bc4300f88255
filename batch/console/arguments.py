"""Parsers for command-line argument values; their error messages show the expected form."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from typing import Final

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def interval(text: str) -> float:
    """Parse an interval such as `10s`, `5m`, `1h` or `7d` into seconds; a plain number counts as seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if found is None or float(found[1]) <= 0:
        raise ArgumentTypeError(
            f"invalid interval {text!r}: use a positive number with a unit, such as 10s, 5m, 1h or 7d"
        )
    return float(found[1]) * _UNITS[found[2]]


def moment(text: str) -> datetime:
    """Parse an ISO 8601 time and convert it to UTC; a time without a time zone counts as UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"invalid time {text!r}: use ISO 8601, such as 2025-01-31T12:00") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def count(text: str) -> int:
    """Parse a count, which must be a positive integer."""
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"invalid count {text!r}: use a whole number above 0")
    return int(text)
