"""What an application adds to the runtime: its decisions, without its transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from streams.runtime.batch import OutputRecord, SourceRecord


class Flow(Protocol):
    """The effects around the pure folds, called by a partition's turn."""

    async def ready(self) -> None:
        """Return once everything is loaded that `publish` needs; a partition resumes after that."""

    async def publish(self, outcomes: Sequence[Any], partition: int) -> list[OutputRecord]:
        """Turn what the folds answered into records; may wait for outside help. No transaction is open meanwhile.

        A cancelled or failed call has no effect: the turn is dropped and its batches are read again.
        """

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """The record that keeps one which could not be processed, with its origin and the reason."""

    def committed(self, outcomes: Sequence[Any]) -> None:
        """Called after the turn is durable; must not wait."""
