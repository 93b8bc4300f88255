"""Agents `metrics-{table}`, one for each change topic: they add changes to the live figures.

Input: change topics. Output: figures and alerts in Redis, topic `dead_letters`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from agents.dead_letters import dead_letter
from agents.raw_changes import decoding, time_ms
from streams.model.change import Change, change_decoder
from streams.model.figures import FigureOf, kind_and_before
from streams.runtime.partition.batch import Fold, OutputRecord, SourceRecord
from streams.runtime.partition.processor import PartitionView, StatelessProcessor
from streams.runtime.partition.turn import Turn
from streams.topics import DEAD_LETTERS

FIGURES: Final = "figures"
"""Name of the output records, whose content is what a change adds."""

Columns = dict[str, Any]


def counter_of(topic_key: str, figure_of: FigureOf, *, clock: Callable[[], float] = time.time) -> Fold:
    """Return the fold that turns each record of a change topic into what it adds to the figures.

    The topic is read without decoding, because a decoded change does not have the row before it.
    """

    def figure(change: Change[Columns], record: SourceRecord) -> Any:
        kind, before = kind_and_before(record.value or b"")
        return figure_of(kind, before, None if change.deleted else change.row, time_ms(change, record), clock())

    return decoding(change_decoder(Columns, key_of=lambda row: str(row.get(topic_key))), figure)


class MetricsProcessor(StatelessProcessor):
    """The processor of `streams.metrics`, which publishes what each change of a turn (a micro-batch) adds."""

    def __init__(self, app_id: str) -> None:
        self._app_id = app_id

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        """Return one record per change; its content is what the change adds."""
        return [OutputRecord(FIGURES, None, None, content=figure) for figure in turn.outcomes]

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """Build the dead letter of a record that could not be processed."""
        return dead_letter(DEAD_LETTERS, record, reason, app_id=self._app_id)

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        """Do nothing: the sink counts changes."""
