"""A row version's place in the source's history as a text: texts sort exactly as positions do.

    epoch(10).file number(19).pos(19).row + 1(10)        digits, filled up with zeros

It is `streams.model.position` written down. Tables that are read by JDBC have no position: their versions have the
epoch and file 0, and as `pos` the time up to which they were read, in microseconds since 1970.

Rows of a table of changes that a repair or a backfill has read have a fifth part, the time of the reading: of two
readings at one position the later one counts, and any change that is logged there counts more than both.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from streams.model.position import MAX_DIGITS, SNAPSHOT_ROW, Position

WIDTHS: Final = (10, 19, 19, 10)


def sequence_text(position: Position) -> str:
    """The text of a position."""
    epoch, file, pos, row = position
    parts = (epoch, file, pos, row - SNAPSHOT_ROW)
    return ".".join(f"{part:0{width}d}" for part, width in zip(parts, WIDTHS, strict=True))


def reading_sequence(position: Position, read_at: datetime) -> str:
    """The text for rows that were read from the source itself when its log was at a position."""
    micros = (read_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return f"{sequence_text(position)}.{micros:0{WIDTHS[2]}d}"


def jdbc_sequence(micros: int) -> str:
    """The text for rows that were read by JDBC up to a time."""
    return sequence_text((0, 0, micros, SNAPSHOT_ROW))


def file_number_sql(name: str) -> str:
    """Number of a binlog file from the expression of its name; NULL if it has none of 64 bits."""
    digits = f"substring_index({name}, '.', -1)"
    number = f"try_cast({digits} AS BIGINT)"
    # A text of digits equals its number with leading zeros: a regular expression takes several times as long.
    is_plain = f"{number} >= 0 AND lpad(CAST({number} AS STRING), char_length({digits}), '0') = {digits}"
    return f"IF(contains({name}, '.') AND char_length({digits}) <= {MAX_DIGITS} AND {is_plain}, {number}, NULL)"


def sequence_sql(epoch: int, file_number: str, pos: str, row: str) -> str:
    """The text as an expression of Spark SQL over expressions of whole numbers; NULL if one of them is."""
    row = f"CAST({row} AS BIGINT) - ({SNAPSHOT_ROW})"
    widths = zip((file_number, pos, row), WIDTHS[1:], strict=True)
    parts = [f"lpad(CAST({part} AS STRING), {width}, '0')" for part, width in widths]
    joined = ", '.', ".join(parts)
    return f"concat('{epoch:0{WIDTHS[0]}d}.', {joined})"
