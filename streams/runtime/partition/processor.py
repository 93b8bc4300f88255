"""The application's part of a partition: its decisions, without its transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from streams.runtime.partition.batch import OutputRecord, SourceRecord, TimerCallback
from streams.runtime.partition.turn import Turn
from streams.runtime.state.store import Entry


class PartitionView(Protocol):
    """The open partition as its processor sees it."""

    @property
    def number(self) -> int:
        """The partition number."""

    @property
    def incarnation(self) -> str:
        """Identifier of the partition's state; a state that was lost and created again has another one."""

    @property
    def now_ms(self) -> int:
        """Estimate of the source's current time, in milliseconds since 1970; 0 before the first change."""

    def timers(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Time and key of the timers of a kind, oldest first."""

    def count(self, kind: int) -> int:
        """Number of timers of a kind."""

    def pending_follow_up(self) -> Callable[[], None]:
        """Register a follow-up of everything committed so far; call the returned function when it is done.

        States committed after the last completed follow-up are passed to `opened` when the partition opens again.
        """


class Processor(Protocol):
    """Decisions and effects around the pure folds, called during a partition's turns."""

    async def ready(self) -> None:
        """Return once everything that `publish` needs is loaded; the partition waits for this while it opens."""

    def opened(self, partition: PartitionView, recent: Sequence[Entry]) -> None:
        """React to a partition that has opened. `recent`: its newest states, with all whose follow-ups are pending."""

    def due_timers(self, partition: PartitionView) -> Iterable[tuple[bytes, TimerCallback]]:
        """Keys and callbacks of due timers, a bounded number."""

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        """Convert the folds' outcomes to records. It may wait for other services and may change the turn's states.

        No transaction is open meanwhile. If the call fails or is cancelled, the turn is dropped, and its batches are
        read again.
        """

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """Dead letter for a record that could not be processed, with its origin and the reason."""

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        """React to a durable turn; must not wait."""


class StatelessProcessor:
    """Default methods for processors of stateless pipelines."""

    async def ready(self) -> None:
        """Return at once: nothing has to be loaded."""

    def opened(self, partition: PartitionView, recent: Sequence[Entry]) -> None:
        """Do nothing: there are no recent states."""

    def due_timers(self, partition: PartitionView) -> Iterable[tuple[bytes, TimerCallback]]:
        """No timers."""
        return ()
