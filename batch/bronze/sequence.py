"""The sequence of a row version: its position in the source's log (`streams.model.position`) as a sortable text.

    epoch(10).file number(19).pos(19).row + 1(10)        number of digits, padded with zeros

Tables that are read by JDBC have no log position: their versions have epoch and file 0, and as `pos` the time up to
which they were read, in microseconds since 1970.

If a repair or a backfill reads rows of a table with the feed `changes`, their sequence has a fifth part, the time of
reading. So of two reads at one log position the later one is newer, and a change logged there is newer than both.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from streams.model.position import MAX_DIGITS, SNAPSHOT_ROW, Position

WIDTHS: Final = (10, 19, 19, 10)


def sequence_text(position: Position) -> str:
    """Return the sequence of a position."""
    epoch, file, pos, row = position
    parts = (epoch, file, pos, row - SNAPSHOT_ROW)
    return ".".join(f"{part:0{width}d}" for part, width in zip(parts, WIDTHS, strict=True))


def reading_sequence(position: Position, read_at: datetime) -> str:
    """Return the sequence for rows that were read from the source itself when its log was at a position."""
    micros = (read_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return f"{sequence_text(position)}.{micros:0{WIDTHS[2]}d}"


def jdbc_sequence(micros: int) -> str:
    """Return the sequence for rows that were read by JDBC up to a time, in microseconds since 1970."""
    return sequence_text((0, 0, micros, SNAPSHOT_ROW))


def file_number_sql(name: str) -> str:
    """Return a Spark SQL expression for the number of a binlog file, NULL if there is none that fits 64 bits.

    Args:
        name: the expression for the file's name.
    """
    digits = f"substring_index({name}, '.', -1)"
    number = f"try_cast({digits} AS BIGINT)"
    # Whether the text has only digits: comparing it with its padded number is several times faster than a regex.
    is_plain = f"{number} >= 0 AND lpad(CAST({number} AS STRING), char_length({digits}), '0') = {digits}"
    return f"IF(contains({name}, '.') AND char_length({digits}) <= {MAX_DIGITS} AND {is_plain}, {number}, NULL)"


def sequence_sql(epoch: int, file_number: str, pos: str, row: str) -> str:
    """Return a Spark SQL expression for the sequence, NULL if a part is NULL; the parts are integer expressions."""
    row = f"CAST({row} AS BIGINT) - ({SNAPSHOT_ROW})"
    widths = zip((file_number, pos, row), WIDTHS[1:], strict=True)
    parts = [f"lpad(CAST({part} AS STRING), {width}, '0')" for part, width in widths]
    joined = ", '.', ".join(parts)
    return f"concat('{epoch:0{WIDTHS[0]}d}.', {joined})"
