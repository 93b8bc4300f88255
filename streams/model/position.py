"""Position of a change in the source database's log; of two changes, the one with the greater position is newer.

A position is a tuple `(epoch, file, pos, row)`, compared element by element. For MySQL and MariaDB:

- `epoch`: number of the log's history, from the connector's name in the record (`project_db.e2` is 2, `project_db` is
  0). `millrace connector epoch begin` increases it when the log begins again, for example on another server.
- `file`: number of the binlog file, from its name (`mysql-bin.000003` is 3).
- `pos`: byte position of the event in the file.
- `row`: index of the row in the event, from 0; `SNAPSHOT_ROW` for a row that a snapshot read at that point, so that
  every logged change at the same point is newer than the row in the snapshot.

For PostgreSQL, `file` is the place (LSN) in the log of the last commit that the connector had read before the change, 0
if there was none since its snapshot; and `pos` is the LSN of the change itself, 0 for a row that a snapshot read. The
LSN of the change alone orders nothing: the log mixes the changes of concurrent transactions, while they become visible
in the order of their commits. A snapshot reads a row at the log's end, but the changes of a transaction that was open
then have lower LSNs, and yet are newer.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

Position = tuple[int, int, int, int]

SNAPSHOT_ROW = -1

SWEPT_ROW: Final = 2**31 - 1
"""Row index of a deletion that `millrace connector sweep` appended, the greatest there is: it directly follows the
newest known change of its row, in the same event of the log."""

MAX_FILE_NUMBER = 2**63 - 1
"""Maximum number of a binlog file, because every part of a position is stored as a signed 64-bit integer."""

MAX_DIGITS = 100
"""Maximum number of digits in a file number, with leading zeros; Python does not parse thousands of digits."""

MAX_EPOCH: Final = 999_999_999

WIDTHS: Final = (10, 19, 19, 10)
"""Number of digits of each part of a position as text."""

EPOCH_SUFFIX: Final = r"\.e([1-9][0-9]{0,8})"
"""The end of a connector's name from epoch 1 on, as a regular expression that Python and Java read alike."""

MAX_NAME: Final = 255
"""Length up to which the epochs of connector names are remembered; Kafka allows no longer prefix of a topic's name."""


def epoch_of(name: object) -> int:
    """Return the epoch in a connector's name (`source.name`); 0 if the name has no such suffix, or is no text."""
    if type(name) is not str:
        return 0
    return _remembered_epoch(name) if len(name) <= MAX_NAME else _epoch(name)


def with_epoch(name: str, epoch: int) -> str:
    """Return the name of a connector in an epoch, which `epoch_of` reads."""
    return f"{name}.e{epoch}" if epoch else name


def _epoch(name: str) -> int:
    found = re.search(rf"{EPOCH_SUFFIX}\Z", name)
    return int(found[1]) if found else 0


_remembered_epoch = lru_cache(maxsize=64)(_epoch)


_COMMIT_AND_CHANGE: Final = re.compile(r'\[(?:null|"([0-9]{1,19})"),(?:null|"([0-9]{1,19})")\]')
"""PostgreSQL's `source.sequence`: the LSN of the last commit, and that of the change."""


def wal_place(sequence: object, *, is_read: bool) -> tuple[int, int]:
    """Return the last commit's LSN and the change's LSN, which are the second and third part of a position.

    Args:
        sequence: the field `source.sequence` of a record, a JSON array as text.
        is_read: whether a snapshot read the row.

    Raises:
        ValueError: the field is no such text, or lacks the LSN of a change.
    """
    if type(sequence) is list:
        sequence = msgspec.json.encode(sequence).decode()
    found = _COMMIT_AND_CHANGE.fullmatch(sequence) if type(sequence) is str else None
    if found is None:
        raise ValueError("source.sequence: has no log position (last commit, change)")
    commit, change = int(found[1] or 0), 0 if is_read else int(found[2] or 0)
    if not (is_read or change) or max(commit, change) > MAX_FILE_NUMBER:
        raise ValueError("source.sequence: the position of the change is missing, or too large")
    return commit, change


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


def sequence_text(position: Position) -> str:
    """Return a position as text of a fixed length, which sorts as the position does; its last part is `row` + 1."""
    epoch, file, pos, row = position
    return f"{epoch:010d}.{file:019d}.{pos:019d}.{row - SNAPSHOT_ROW:010d}"
