"""Admission of turns (micro-batches) and of openings: only a few of a worker's partitions do either at a time.

A transaction costs Kafka and the worker about the same whether it has one record or a hundred. If every partition began
its turn at once, each would have few records, and all of them would wait for each other's requests. A turn that waits
for admission takes the batches that arrived meanwhile as well.

Opening a partition makes two Kafka clients and reads a store. A hundred at once would hold up the event loop for most
of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

TURNS_AT_A_TIME: Final = 2
"""Maximum number of turns under way in a worker."""

OPENINGS_AT_A_TIME: Final = 4
"""Maximum number of partitions that a worker begins to open within `OPENING_SLOT_S`."""

RESTORATIONS_AT_A_TIME: Final = 4
"""Maximum number of states that a worker begins to restore within `RESTORATION_SLOT_S`. Each keeps its newest entries
in memory until it is done, some 3 MB, and all of them share one processor."""

RESTORATION_SLOT_S: Final = 2.0

SLOT_S: Final = 0.2
OPENING_SLOT_S: Final = 0.25
"""Time for which a turn or an opening keeps others waiting. One that hangs, for example because the leader of its
changelog does not answer, must not hold up the other partitions."""


class Gate:
    """Admits up to `limit` partitions at a time; of those that wait, the one with the lowest rank is next.

    Attributes:
        under_way: number of admitted partitions that have neither finished nor taken longer than `slot_s` seconds.
    """

    def __init__(self, limit: float = TURNS_AT_A_TIME, slot_s: float = SLOT_S) -> None:
        self.under_way = 0
        self._limit = limit
        self._slot_s = slot_s
        self._waiting: dict[asyncio.Future[None], Callable[[], float]] = {}

    @contextlib.asynccontextmanager
    async def admitted(self, rank: Callable[[], float]) -> AsyncIterator[None]:
        """Wait for admission, in the order of `rank`, such as the Kafka timestamp of the oldest change."""
        await self._admission(rank)
        slot = _Slot(self._leave)
        overdue = asyncio.get_running_loop().call_later(self._slot_s, slot.free)
        try:
            yield
        finally:
            overdue.cancel()
            slot.free()

    async def _admission(self, rank: Callable[[], float]) -> None:
        if self.under_way < self._limit:
            self.under_way += 1
            return
        admission = asyncio.get_running_loop().create_future()
        self._waiting[admission] = rank
        try:
            await admission
        except asyncio.CancelledError:
            if admission.done() and not admission.cancelled():
                self._leave()  # admitted and cancelled at the same moment
            raise
        finally:
            self._waiting.pop(admission, None)

    def _leave(self) -> None:
        """Hand the slot to the waiting partition with the lowest rank, or free it."""
        waiting = [admission for admission in self._waiting if not admission.done()]
        if not waiting:
            self.under_way -= 1
            return
        first = min(waiting, key=lambda admission: self._waiting[admission]())
        del self._waiting[first]
        first.set_result(None)


class _Slot:
    """The slot of an admitted partition, which is freed once."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave: Callable[[], None] | None = leave

    def free(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
