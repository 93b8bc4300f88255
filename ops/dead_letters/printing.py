"""Format untrusted keys, values and texts so that they are safe to print on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

CUT: Final = "…"
_DUMP_BYTES = 16


def printable(text: str) -> str:
    """Escape all non-printable characters: control characters, line breaks, direction marks."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(text: str, width: int) -> str:
    """Escape non-printable characters and cut the text to `width` characters."""
    shown = printable(text[: width + 1])
    return shown if len(shown) <= width else shown[: width - 1] + CUT


def bytes_text(raw: bytes | None) -> str:
    """Format a key or value as text, with escapes for invalid UTF-8; return `none` if it is missing."""
    return "none" if raw is None else printable(raw.decode("utf-8", "backslashreplace"))


def is_text(raw: bytes) -> bool:
    """Whether the bytes are valid UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def hex_dump(raw: bytes) -> Iterator[str]:
    """Yield the lines of a hex dump: offset, bytes, and the bytes as ASCII characters."""
    for begin in range(0, len(raw), _DUMP_BYTES):
        part = raw[begin : begin + _DUMP_BYTES]
        characters = "".join(chr(b) if 32 <= b < 127 else "." for b in part)
        yield f"{begin:08x}  {part.hex(' '):<{_DUMP_BYTES * 3}} {characters}"


def moment(milliseconds: int) -> str:
    """Format milliseconds since 1970 as ISO 8601 in UTC, or as `-` if they are not a valid time."""
    if milliseconds < 0:
        return "-"
    try:
        # Computed with integers: a float of seconds would round the milliseconds.
        seconds, rest = divmod(milliseconds, 1000)
        found = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)
    except (ValueError, OverflowError, OSError):
        return "-"
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Format rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
