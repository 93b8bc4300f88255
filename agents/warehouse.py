"""Agents `warehouse-{table}`, one for each change topic, and agent `warehouse-letters`: they fill the warehouse.

Input: change topics, `dead_letters`. Output: tables of the warehouse in PostgreSQL, topic `dead_letters`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from agents.dead_letters import dead_letter
from agents.raw_changes import decoding, time_ms
from streams.model.change import Change, change_decoder
from streams.model.fold import UNCHANGED
from streams.model.letter import letter_of
from streams.model.warehouse import Row, WarehouseTable, folded
from streams.runtime.partition.batch import Fold, OutputRecord, SourceRecord
from streams.runtime.partition.processor import PartitionView, StatelessProcessor
from streams.runtime.partition.turn import Turn
from streams.topics import DEAD_LETTERS
from tables.warehouse.drift import ColumnDrift


class Loaded(NamedTuple):
    """A version of a row, and the record that it is from."""

    row: Row
    record: SourceRecord


def loader(table: WarehouseTable) -> Fold:
    """Return the fold that turns each record of a change topic into a version of a row of the warehouse's table.

    The fold needs no state: the warehouse compares versions. The topic is read without decoding, so that a row that the
    warehouse refuses still has its record.
    """
    make = table.row_maker()

    def loaded(change: Change[Any], record: SourceRecord) -> Loaded:
        return Loaded(make(change, time_ms(change, record)), record)

    return decoding(change_decoder(table.struct(), key_of=table.record_key), loaded)


class WarehouseProcessor(StatelessProcessor):
    """The processor of a change topic: it publishes the newest version of each row that changed in a turn."""

    def __init__(self, table: WarehouseTable, app_id: str, drift: ColumnDrift | None = None) -> None:
        self._table = table
        self._app_id = app_id
        self._drift = drift or ColumnDrift()

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        """Return one record per changed row, in the order of their keys; its content is the row."""
        if turn.outcomes:
            last = max(turn.outcomes, key=lambda loaded: loaded.row.position)
            self._drift.note(self._table, last.record.value or b"", last.row.position)
        newest: dict[tuple[Any, ...], Loaded] = {}
        for loaded in turn.outcomes:
            key = self._table.key_of(loaded.row)
            known = newest.get(key)
            newest[key] = loaded if known is None else _newest(known, loaded)
        name = self._table.name
        return [
            OutputRecord(name, None, None, source=loaded.record, content=loaded.row)
            for _, loaded in sorted(newest.items(), key=lambda item: item[0])
        ]

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """Build the dead letter of a record that could not be processed."""
        return dead_letter(DEAD_LETTERS, record, reason, app_id=self._app_id)

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        """Do nothing: the sink counts rows."""


def _newest(one: Loaded, other: Loaded) -> Loaded:
    row = folded(one.row, other.row)
    return Loaded(row, one.record if row.position == one.row.position else other.record)


def load_letter(state: Any, change: Change[SourceRecord]) -> Any:
    """Return the dead letter in a record of the topic `dead_letters`, of which any producer may write any content."""
    return letter_of(change.row) or UNCHANGED


class LetterProcessor(StatelessProcessor):
    """The processor of the topic `dead_letters`: it publishes each dead letter of a turn."""

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        """Return one record per dead letter; its content is the letter."""
        return [OutputRecord(DEAD_LETTERS, None, None, content=letter) for letter in turn.outcomes]

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """Raise AssertionError: a dead letter cannot become another one, which would go on for ever."""
        raise AssertionError(
            f"the dead letter at offset {record.offset} of {record.topic}/{record.partition} cannot be kept: {reason}"
        )

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        """Do nothing: the sink counts rows."""
