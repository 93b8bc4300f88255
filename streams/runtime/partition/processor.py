"""What an application adds to the runtime: its decisions, without its transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from streams.runtime.partition.batch import OutputRecord, SourceRecord, TimerCallback
from streams.runtime.partition.turn import Turn
from streams.runtime.state.store import Entry


class PartitionView(Protocol):
    """What a processor sees of the open partition it decides for."""

    @property
    def number(self) -> int:
        """The partition number."""

    @property
    def incarnation(self) -> str:
        """Identifies the partition's state: one that was lost and made anew has another."""

    @property
    def now_ms(self) -> int:
        """The source's time now, as far as it is known here, in milliseconds since 1970; 0 before the first change."""

    def timers(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Time and key of the timers of a kind, oldest first."""

    def count(self, kind: int) -> int:
        """Number of timers of a kind."""

    def pending_follow_up(self) -> Callable[[], None]:
        """Say that something remains to be done for what is committed so far; call the answer when it is done.

        What was committed after the last thing done is handed to `opened` when the partition opens again.
        """


class Processor(Protocol):
    """The effects around the pure folds, called by a partition's turns."""

    async def ready(self) -> None:
        """Return once everything is loaded that `publish` needs; a partition resumes after that."""

    def opened(self, partition: PartitionView, recent: Sequence[Entry]) -> None:
        """A partition has opened. `recent`: its newest states, those included that may not be settled."""

    def due_timers(self, partition: PartitionView) -> Iterable[tuple[bytes, TimerCallback]]:
        """Keys and callbacks of the timers that are due; bounded in number."""

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        """Turn what the folds answered into records; may wait for outside help, and may alter the turn's states.

        No transaction is open meanwhile. A cancelled or failed call has no effect: the turn is dropped and its batches
        are read again.
        """

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """The record that keeps one which could not be processed, with its origin and the reason."""

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        """Called after the turn is durable; must not wait."""


class StatelessProcessor:
    """The part of a processor that an application without states has nothing to say to."""

    async def ready(self) -> None:
        """Nothing has to be loaded."""

    def opened(self, partition: PartitionView, recent: Sequence[Entry]) -> None:
        """Nothing is to be caught up with."""

    def due_timers(self, partition: PartitionView) -> Iterable[tuple[bytes, TimerCallback]]:
        """No timers without states."""
        return ()
