"""Finds rows of PostgreSQL that an incremental read may have found in a state that was out of date.

A transaction of PostgreSQL is in the log, and so with the connector, before others see what it changed: for an instant
usually, and with synchronous standbys until they have answered. A row that the connector reads in between is published
as it was before, after the change and at a later place in the log, so the former state would take precedence for ever.

The topic shows such rows: what was read differs from the newest change before it. (It does too if the connector has
lost a change.) So these rows have to be read again once everything in the log is visible; a second read with the same
result settles the doubt, and so does any later change.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from msgspec import Raw, Struct

from streams.model.position import SNAPSHOT_ROW, Position

_UNAVAILABLE: Final = b"__debezium_unavailable_value"
_DELETED: Final = hash(b"")


class _Envelope(Struct):
    """An envelope, or what the converter wraps it in, which has a `payload`."""

    after: Raw = Raw(b"null")
    payload: _Envelope | None = None


class _Known(NamedTuple):
    """The newest record of a row that was changed, and hashes of its contents.

    Attributes:
        changed: content after the newest change; None if it is not known completely.
        read: content that the newest read after that change found; None if there is none.
    """

    position: Position
    changed: int | None
    read: int | None


class DoubtfulReads:
    """The rows of a table that were read in another state than their newest change had left them in.

    Attributes:
        keys: primary keys of the rows, as texts.
    """

    def __init__(self) -> None:
        self.keys: set[tuple[str, ...]] = set()
        self._known: dict[tuple[str, ...], _Known] = {}

    def note(self, key: tuple[str, ...], position: Position, value: bytes, *, is_deletion: bool) -> None:
        """Take in a record of a row: of a change, or of a read."""
        known = self._known.get(key)
        if known is not None and position < known.position:
            return
        if position[-1] != SNAPSHOT_ROW:
            self.keys.discard(key)
            self._known[key] = _Known(position, _DELETED if is_deletion else _content(value), None)
        elif known is not None and known.changed is not None:
            found = _content(value)
            if found in (known.changed, known.read):
                self.keys.discard(key)
            else:
                self.keys.add(key)
            self._known[key] = _Known(position, known.changed, found)


def _content(value: bytes) -> int | None:
    """Return a hash of the row that a record contains; None if the connector did not have all of its values."""
    if _UNAVAILABLE in value:
        return None
    envelope = msgspec.json.decode(value, type=_Envelope)
    return hash(bytes((envelope.payload or envelope).after))
