"""The sequence of a row version: its position in the source's log (`streams.model.position`) as sortable text.

    epoch(10).file number(19).pos(19).row + 1(10)        in parentheses: number of digits, padded with zeros

For PostgreSQL, the LSN of the last commit takes the place of the file number, and the LSN of the change that of `pos`.

Rows of tables read over JDBC have no log position. Their epoch and file number are 0, and their `pos` is the time up to
which the table was read, in microseconds since 1970.

If a repair or a backfill reads rows of a table with the feed `changes`, their sequence has a fifth part, the time of
reading. Of two reads at the same log position, the later read is therefore newer, and a change logged at that position
is newer than both reads.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streams.model.position import EPOCH_SUFFIX, MAX_DIGITS, SNAPSHOT_ROW, WIDTHS, Position, sequence_text


def epoch_in(sequence: str) -> int:
    """Return the epoch of a sequence."""
    return int(sequence[: WIDTHS[0]])


def reading_sequence(position: Position, read_at: datetime) -> str:
    """Return the sequence for rows that were read directly from the source while its log was at `position`."""
    micros = (read_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return f"{sequence_text(position)}.{micros:0{WIDTHS[2]}d}"


def jdbc_sequence(micros: int) -> str:
    """Return the sequence for rows read over JDBC up to a time; `micros` is in microseconds since 1970."""
    return sequence_text((0, 0, micros, SNAPSHOT_ROW))


def file_number_sql(name: str) -> str:
    """Return a Spark SQL expression for the number in a binlog file name; NULL if missing or larger than 64 bits.

    Args:
        name: SQL expression for the file name.
    """
    digits = f"substring_index({name}, '.', -1)"
    number = f"try_cast({digits} AS BIGINT)"
    # Check that the text has only digits; comparing it with its padded number is several times faster than a regex.
    is_plain = f"{number} >= 0 AND lpad(CAST({number} AS STRING), char_length({digits}), '0') = {digits}"
    return f"IF(contains({name}, '.') AND char_length({digits}) <= {MAX_DIGITS} AND {is_plain}, {number}, NULL)"


def wal_sql(sequence: str, index: int) -> str:
    """Return a Spark SQL expression for an LSN in PostgreSQL's `source.sequence` (`streams.model.position.wal_place`).

    It is NULL if the LSN is missing, if it is larger than 64 bits, or if the text has another form.

    Args:
        sequence: SQL expression for the text.
        index: 1 for the last commit, 2 for the change.
    """
    pattern = r'^\\[(?:null|"([0-9]{1,19})"),(?:null|"([0-9]{1,19})")\\]\\z'
    return f"try_cast(regexp_extract({sequence}, '{pattern}', {index}) AS BIGINT)"


def is_wal_sql(sequence: str) -> str:
    """Return a Spark SQL condition for a text of the form of PostgreSQL's `source.sequence`."""
    return f"""{sequence} RLIKE '^\\\\[(null|"[0-9]{{1,19}}"),(null|"[0-9]{{1,19}}")\\\\]\\\\z'"""


def epoch_sql(name: str) -> str:
    """Return a Spark SQL expression for the epoch in a connector's name; 0 if the name has no such suffix.

    Args:
        name: SQL expression for the connector's name.
    """
    suffix = f"regexp_extract({name}, '{EPOCH_SUFFIX.replace(chr(92), chr(92) * 2)}\\\\z', 1)"
    return f"coalesce(try_cast({suffix} AS INT), 0)"


def sequence_sql(epoch: str, file_number: str, pos: str, row: str) -> str:
    """Return a Spark SQL expression for a sequence, given integer expressions for its parts; NULL if a part is NULL."""
    row = f"CAST({row} AS BIGINT) - ({SNAPSHOT_ROW})"
    widths = zip((epoch, file_number, pos, row), WIDTHS, strict=True)
    parts = [f"lpad(CAST({part} AS STRING), {width}, '0')" for part, width in widths]
    joined = ", '.', ".join(parts)
    return f"concat({joined})"
