"""Interface through which a partition calls the application's logic; the runtime handles the transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from streams.runtime.partition.batch import OutputRecord, SourceRecord, TimerCallback
from streams.runtime.partition.turn import Turn
from streams.runtime.state.store import Entry


class PartitionView(Protocol):
    """Interface through which a processor accesses an open partition."""

    @property
    def number(self) -> int:
        """The partition number."""

    @property
    def incarnation(self) -> str:
        """Identifier that changes whenever the partition's state is lost and created again."""

    @property
    def now_ms(self) -> int:
        """Estimated current time of the source's clock, in milliseconds since 1970; 0 before the first change."""

    def timers(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (time, key) of each timer of the given kind, oldest first; times are in milliseconds since 1970."""

    def count(self, kind: int) -> int:
        """Return the number of timers of the given kind."""

    def pending_follow_up(self) -> Callable[[], None]:
        """Register a follow-up (an action after a commit); return the function to call once it is done.

        When the partition is reopened, the states whose follow-ups are not done are passed to `Processor.opened`.
        """


class Processor(Protocol):
    """The application's logic around the pure fold functions, called during a partition's turns (micro-batches)."""

    async def ready(self) -> None:
        """Wait until all data that `publish` needs is loaded; a partition awaits this method before it opens."""

    def opened(self, partition: PartitionView, recent: Sequence[Entry]) -> None:
        """Handle the opening of a partition.

        Args:
            recent: the newest states of the partition, including all whose follow-ups (actions after a commit) may not
                be done.
        """

    def due_timers(self, partition: PartitionView) -> Iterable[tuple[bytes, TimerCallback]]:
        """Return the keys and callbacks of due timers, at most as many as one turn (micro-batch) should run."""

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        """Convert the turn's outcomes to output records; may await other services, and may change the turn's states.

        No transaction is open during this call. If the call fails or is cancelled, the turn is discarded, and the
        records of its batches are polled again.
        """

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """Build the dead letter for a record that could not be processed, with the record's origin and the reason."""

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        """Handle a turn (micro-batch) that was committed; must return without blocking."""


class StatelessProcessor:
    """A base class for the processors of stateless pipelines."""

    async def ready(self) -> None:
        """Return immediately, because nothing has to be loaded."""

    def opened(self, partition: PartitionView, recent: Sequence[Entry]) -> None:
        """Do nothing, because a stateless pipeline has no recent states."""

    def due_timers(self, partition: PartitionView) -> Iterable[tuple[bytes, TimerCallback]]:
        """Return an empty tuple, because a stateless pipeline has no timers."""
        return ()
