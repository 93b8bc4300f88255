"""Held orders: complete orders whose locks another deployment has, and that are requested again and again.

Each order is requested after it has been held for about 1, 2, 4, … seconds, and from `2 ** LAST_LEVEL` seconds on at
intervals of this length, so that thousands of orders cost next to nothing that are held for good, behind a deployment
that is gone. A level contains the orders of one such interval of age. It is a range of the timers' index; nothing is
kept in memory for a single order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from typing import Final, NamedTuple

from streams.model.order_life import HELD_KINDS
from streams.runtime.partition.processor import PartitionView

LAST_LEVEL: Final = 7
LONGEST_PAUSE_S: Final = 2.0**LAST_LEVEL
"""Longest time between two requests for the same order, after which a released lock is noticed. While more orders are
held than one turn requests, sweeps are late, and an order may grow out of a level between two of them: then the time
may be twice as long."""

HeldOrder = tuple[int, int, bytes]
"""Kind and time (milliseconds since 1970) of the timer of a held order, and the order's key."""


class _Sweep(NamedTuple):
    """The held orders of one partition, level and kind, which are requested one after the other."""

    partition: int
    level: int
    kind: int


class HeldOrders:
    """Selector of the held orders to request in each turn (micro-batch) of a partition.

    Args:
        clock: a monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_at_s: dict[_Sweep, float] = {}
        self._cursors: dict[_Sweep, tuple[int, bytes]] = {}

    def request_all(self, partition: int) -> None:
        """Request all held orders of a partition now: it has just been opened, or a lock was released."""
        self._due_at_s = {sweep: at_s for sweep, at_s in self._due_at_s.items() if sweep.partition != partition}
        self._cursors = {sweep: at for sweep, at in self._cursors.items() if sweep.partition != partition}

    def due(self, partition: PartitionView, most: int) -> list[HeldOrder]:
        """Return up to `most` held orders to request in this turn; sweeps that are overdue for longest come first."""
        number, now_s = partition.number, self._clock()
        sweeps = [_Sweep(number, level, kind) for kind in HELD_KINDS if partition.count(kind) for level in _LEVELS]
        due_at_s = self._due_at_s
        found: list[HeldOrder] = []
        for sweep in sorted(sweeps, key=lambda sweep: due_at_s.get(sweep, 0.0)):
            if len(found) >= most or due_at_s.get(sweep, 0.0) > now_s:
                break
            page = self._page(sweep, partition, most - len(found))
            found += [(sweep.kind, at_ms, key) for at_ms, key in page]
            if len(found) < most:
                self._cursors.pop(sweep, None)
                due_at_s[sweep] = now_s + 2.0**sweep.level
            else:  # the next turn goes on here, unless another sweep has been due for longer
                self._cursors[sweep] = page[-1]
                due_at_s[sweep] = now_s
        return found

    def _page(self, sweep: _Sweep, partition: PartitionView, most: int) -> list[tuple[int, bytes]]:
        """Return the next orders of a sweep; its level contains the ages from `2 ** level` to `2 ** (level + 1)` s."""
        now_ms, level = partition.now_ms, sweep.level
        oldest_ms = 1 if level < LAST_LEVEL else 0  # the last level also contains orders whose time is unknown
        from_ms = max(oldest_ms, now_ms - 2_000 * 2**level + 1) if level < LAST_LEVEL else oldest_ms
        until_ms = max(0, now_ms - 1_000 * 2**level) if level else None
        after = max(self._cursors.get(sweep, (from_ms, b"")), (from_ms, b""))  # older orders are in the next level now
        return list(islice(partition.timers(sweep.kind, after=after, until_ms=until_ms), most))


_LEVELS: Final = range(LAST_LEVEL + 1)
