"""Position of a change in the source database's log; of two changes, the one with the greater position is newer.

A position is a tuple `(epoch, file, pos, row)`, compared element by element:

- `epoch`: number of the log; it must increase when the database starts a new log, for example on a restored server.
- `file`: number of the binlog file, from its name (`mysql-bin.000003` is 3).
- `pos`: byte position of the event in the file.
- `row`: index of the row in the event, from 0; `SNAPSHOT_ROW` for a row that a snapshot read at that point, so that
  every logged change at the same point is newer than the row in the snapshot.
"""

from __future__ import annotations

from functools import lru_cache

Position = tuple[int, int, int, int]

SNAPSHOT_ROW = -1

MAX_FILE_NUMBER = 2**63 - 1
"""Maximum number of a binlog file, because every part of a position is stored as a signed 64-bit integer."""

MAX_DIGITS = 100
"""Maximum number of digits in a file number, with leading zeros; Python does not parse thousands of digits."""


@lru_cache(maxsize=256)
def binlog_file_number(name: str) -> int:
    """Return the number in the name of a binlog file; as text, `bin.1000000` would sort before `bin.999999`.

    Raises:
        ValueError: the name does not end in a number, or the number does not fit into a signed 64-bit integer.
    """
    _, dot, digits = name.rpartition(".")
    if not dot or not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"source.file: {name[:80]!r} does not end in a number")
    if len(digits) > MAX_DIGITS or (number := int(digits)) > MAX_FILE_NUMBER:
        raise ValueError(f"source.file: the number in {name[:80]!r} is too large")
    return number
