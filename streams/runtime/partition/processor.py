"""Interface for an application's decisions in a partition; transactions are the runtime's part."""

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
        """Identifier of the partition's state; a state that was lost and created again has another identifier."""

    @property
    def now_ms(self) -> int:
        """Estimate of the source's current time, in milliseconds since 1970; 0 before the first change."""

    def timers(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield time (milliseconds since 1970) and key of the timers of a kind, oldest first."""

    def count(self, kind: int) -> int:
        """Number of timers of a kind."""

    def pending_follow_up(self) -> Callable[[], None]:
        """Register a follow-up, work to do after the commits so far; call the returned function when it is done.

        States committed after the last completed follow-up are passed to `opened` when the partition opens again.
        """


class Processor(Protocol):
    """Decisions and effects around the pure folds, called during a partition's turns (micro-batches)."""

    async def ready(self) -> None:
        """Return once everything that `publish` needs is loaded; the partition waits for this while it opens."""

    def opened(self, partition: PartitionView, recent: Sequence[Entry]) -> None:
        """React to the opening of a partition; `recent`: its newest states, and all with pending follow-ups."""

    def due_timers(self, partition: PartitionView) -> Iterable[tuple[bytes, TimerCallback]]:
        """Keys and callbacks of the timers that are due, limited in number."""

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        """Convert the folds' outcomes to records; may wait for other services, and may change the turn's states.

        No transaction is open meanwhile. If the call fails or is cancelled, the turn is dropped, and its batches are
        read again.
        """

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """Build the dead letter of a record that could not be processed, with the record's origin and the reason."""

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        """React to a turn that has become durable; must not wait."""


class StatelessProcessor:
    """Default methods for processors of stateless pipelines."""

    async def ready(self) -> None:
        """Return at once: nothing has to be loaded."""

    def opened(self, partition: PartitionView, recent: Sequence[Entry]) -> None:
        """Do nothing: there are no recent states."""

    def due_timers(self, partition: PartitionView) -> Iterable[tuple[bytes, TimerCallback]]:
        """Return no timers."""
        return ()
