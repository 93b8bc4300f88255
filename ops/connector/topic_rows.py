"""Read a table's change topic, and find the rows that exist according to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from config.definition import Table
from ops.connector.doubtful_reads import DoubtfulReads
from ops.topic_reader import TopicReader
from streams.model.change import Change, ChangeDecoder, change_decoder
from streams.model.position import Position

RowKey = tuple[Any, ...]
"""Values of a row's primary key, in the definition's order of the key columns."""

_GROUP: Final = "millrace-connector-sweep"


class Newest(NamedTuple):
    """The position of a row's newest change, and whether this change deleted the row."""

    position: Position
    deleted: bool


class ChangeRecord(NamedTuple):
    """The key and the value of a record in the topic."""

    key: bytes
    value: bytes


class TopicRows:
    """The newest change of each row in a change topic; records that cannot be decoded are left out.

    Attributes:
        newest: the newest change of each row, keyed by the row's primary key.
    """

    def __init__(self, bootstrap: str, topic: str, table: Table) -> None:
        self.newest: dict[RowKey, Newest] = {}
        self._bootstrap = bootstrap
        self._topic = topic
        self._decode = _decoder(table)

    def read(self) -> None:
        """Read the topic from its beginning to its current end.

        Raises:
            StackError: Kafka does not answer, or the topic does not exist.
        """
        self._visit(self._note)

    def records_of(self, keys: Mapping[RowKey, Position]) -> dict[RowKey, ChangeRecord]:
        """Read the topic again, and return the record of each given row at the given position."""
        found: dict[RowKey, ChangeRecord] = {}

        def keep(change: Change[Any], record: ChangeRecord) -> None:
            row_key = msgspec.structs.astuple(change.row)
            if keys.get(row_key) == change.position:
                found[row_key] = record

        self._visit(keep)
        return found

    def _note(self, change: Change[Any], _: ChangeRecord) -> None:
        row_key = msgspec.structs.astuple(change.row)
        known = self.newest.get(row_key)
        if known is None or change.position >= known.position:
            self.newest[row_key] = Newest(change.position, change.deleted)

    def _visit(self, use: Callable[[Change[Any], ChangeRecord], None]) -> None:
        def visit(key: bytes | None, value: bytes | None) -> None:
            change = self._decode(key, value)
            if type(change) is Change:
                assert key is not None
                assert value is not None
                use(change, ChangeRecord(key, value))

        with TopicReader(self._bootstrap, self._topic, _GROUP) as reader:
            reader.visit_to_end(visit)


class SeenRows:
    """The keys of the rows that a change topic has a record of; `look` reads on where the previous call ended.

    Args:
        is_new: leave out the records that are in the topic now.
        is_alive: leave out the rows whose last record is a deletion.
        doubts: takes in the records too; None for a source whose reads are never out of date.

    Attributes:
        keys: primary keys of the rows, as texts.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        table: Table,
        *,
        is_new: bool = False,
        is_alive: bool = False,
        doubts: DoubtfulReads | None = None,
    ) -> None:
        self.keys: set[tuple[str, ...]] = set()
        self._doubts = doubts
        self._is_alive = is_alive
        self._decode = _decoder(table)
        self._reader = TopicReader(bootstrap, topic, _GROUP)
        if is_new:
            self._reader.skip_to_end()

    @property
    def doubtful(self) -> set[tuple[str, ...]]:
        """Primary keys of the rows that may have been read out of date; empty without `doubts`."""
        return set() if self._doubts is None else set(self._doubts.keys)

    def close(self) -> None:
        """Close the reader of the topic."""
        self._reader.close()

    def look(self) -> None:
        """Read up to the current end of the topic.

        Raises:
            StackError: Kafka does not answer, or the topic does not exist.
        """
        self._reader.visit_to_end(self._note)

    def _note(self, key: bytes | None, value: bytes | None) -> None:
        change = self._decode(key, value)
        if type(change) is Change:
            row_key = key_texts(msgspec.structs.astuple(change.row))
            if self._doubts is not None:
                assert value is not None
                self._doubts.note(row_key, change.position, value, is_deletion=change.deleted)
            if change.deleted and self._is_alive:
                self.keys.discard(row_key)
            else:
                self.keys.add(row_key)


def key_texts(key: RowKey) -> tuple[str, ...]:
    """Return a row's key as texts, which are the same for every driver."""
    return tuple(map(str, key))


def _decoder(table: Table) -> ChangeDecoder:
    """Return a decoder that reads only the key columns of a table."""
    assert table.topic_key is not None or len(table.key) == 1, f"{table.name}: the definition was not checked"
    topic_key = table.topic_key or table.key[0]
    row: type[Struct] = msgspec.defstruct("KeyColumns", [(name, int | str) for name in table.key])
    return change_decoder(row, key_of=lambda values: str(getattr(values, topic_key)))
