"""Agent `metrics`, started once per change topic: adds changes to the live figures.

Input: change topics. Output: figures and alerts in Redis, topic `dead_letters`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from faust import StreamT

from agents.dead_letters import dead_letter
from streams.model.change import Change, Malformed, Tombstone, change_decoder
from streams.model.figures import FigureOf, kind_and_before
from streams.model.fold import UNCHANGED, Rejected
from streams.model.source_time import is_credible
from streams.runtime.partition.batch import Fold, OutputRecord, RecordBatch, SourceRecord
from streams.runtime.partition.processor import PartitionView, StatelessProcessor
from streams.runtime.partition.turn import Turn
from streams.topics import DEAD_LETTERS

FIGURES: Final = "figures"
"""Name of the output records, whose content is what a change adds."""

Agent = Callable[[StreamT[RecordBatch]], AsyncIterator[int]]
Columns = dict[str, Any]


def metrics_agent(fold: Fold) -> Agent:
    """Return an agent that submits each batch of records to its partition's task, with this fold."""

    async def metrics(batches: StreamT[RecordBatch]) -> AsyncIterator[int]:
        async for batch in batches:
            yield await batch.submit(fold)

    return metrics


def counter_of(topic_key: str, figure_of: FigureOf, *, clock: Callable[[], float] = time.time) -> Fold:
    """Return the fold that turns each record of a change topic into what it adds to the figures.

    The topic is read without decoding, because a decoded change does not have the row before it.
    """
    decode = change_decoder(Columns, key_of=lambda row: str(row.get(topic_key)))

    def count(state: Any, change: Change[SourceRecord]) -> Any:
        record = change.row
        decoded = decode(record.key, record.value)
        if isinstance(decoded, Malformed):
            raise Rejected(decoded.reason)
        if isinstance(decoded, Tombstone):
            return UNCHANGED
        kind, before = kind_and_before(record.value or b"")
        after = None if decoded.deleted else decoded.row
        is_right = decoded.at_ms > 0 and is_credible(decoded.at_ms, record.timestamp)
        at_ms = decoded.at_ms if is_right else max(0, record.timestamp)
        try:
            return figure_of(kind, before, after, at_ms, clock())
        except ValueError as error:
            raise Rejected(str(error)) from error

    return count


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
