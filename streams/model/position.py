"""Position of a change in the source's log, which alone decides which of two changes is newer.

A position is a tuple `(epoch, file, pos, row)` and compares as one:

- `epoch`: number of the source's log; a new epoch begins when the source starts its log over (a restored server).
- `file`: number of the binlog file, from its name (`mysql-bin.000003` is 3).
- `pos`: byte position of the event in the file.
- `row`: number of the row in the event, from 0; `SNAPSHOT_ROW` for a row that a snapshot read at that point, so that
  every logged change at the same position is newer than the read.
"""

from __future__ import annotations

from functools import lru_cache

Position = tuple[int, int, int, int]

SNAPSHOT_ROW = -1

MAX_FILE_NUMBER = 2**63 - 1
"""Every part of a position is kept in 64 bits."""

MAX_DIGITS = 100
"""Maximum number of digits, including leading zeros: Python refuses to read numbers of thousands of digits."""


@lru_cache(maxsize=256)
def binlog_file_number(name: str) -> int:
    """Number of a binlog file; files are ordered by number, since `bin.1000000` follows `bin.999999`.

    Raises:
        ValueError: the name does not end in a number, or the number has more than 64 bits.
    """
    _, dot, digits = name.rpartition(".")
    if not dot or not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"source.file: {name[:80]!r} does not end in a number")
    if len(digits) > MAX_DIGITS or (number := int(digits)) > MAX_FILE_NUMBER:
        raise ValueError(f"source.file: the number in {name[:80]!r} is too large")
    return number
