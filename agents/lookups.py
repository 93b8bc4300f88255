"""Publication of look-up entries: the newest version of each row that changed in a turn (a micro-batch)."""

from __future__ import annotations

from collections import Counter

import msgspec

from agents.dead_letters import dead_letter
from streams.runtime.partition.batch import OutputRecord, SourceRecord
from streams.runtime.partition.processor import PartitionView, StatelessProcessor
from streams.runtime.partition.turn import Turn
from streams.topics import DEAD_LETTERS

_encode = msgspec.json.Encoder().encode


class LookupProcessor(StatelessProcessor):
    """The processor of `streams.lookups`, which publishes the newest version of each row in a turn (a micro-batch).

    Attributes:
        counts: `written` and `deleted`, the numbers of changes that set or deleted a look-up entry.
    """

    def __init__(self, app_id: str) -> None:
        self.counts: Counter[str] = Counter(written=0, deleted=0)
        self._app_id = app_id

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        """Return one record per changed row: the topic is the kind of row, and the value is JSON, or None to delete."""
        newest = {(entry.kind, entry.id): entry.columns for entry in turn.outcomes}
        return [
            OutputRecord(kind, id_.encode(), None if columns is None else _encode(columns))
            for (kind, id_), columns in newest.items()
        ]

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """Build the dead letter of a record that could not be processed."""
        return dead_letter(DEAD_LETTERS, record, reason, app_id=self._app_id)

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        """Count the changes that set or deleted look-up entries."""
        deleted = sum(entry.columns is None for entry in turn.outcomes)
        self.counts["deleted"] += deleted
        self.counts["written"] += len(turn.outcomes) - deleted
