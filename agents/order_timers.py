"""Timers that retry orders locked by another deployment, report overdue orders, and forget finished orders in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Final

from agents.held_orders import HeldOrders
from streams.model.order_life import (
    UNREPORTED,
    Standing,
    ask_again,
    forget_finished,
    report_overdue,
)
from streams.runtime.partition.batch import TimerCallback
from streams.runtime.partition.processor import PartitionView

MOST_CALLBACKS: Final = 1_000
"""Maximum number of callbacks of one kind in one turn (micro-batch); the next turn continues where this one ended."""

DueTimers = Iterator[tuple[bytes, TimerCallback]]


class OrderTimers:
    """Selector of the order timers to run in each turn (micro-batch) of a partition.

    Both times are measured by the source database's clock.

    Args:
        incomplete_after_s: seconds after which an incomplete order is reported; 0 to report none.
        retention_s: seconds between the last change of a finished order and its removal; 0 to keep orders forever.
        clock: a monotonic clock in seconds, for the pauses between two requests for the lock of a held order.
    """

    def __init__(
        self, *, incomplete_after_s: float, retention_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._after_ms = int(incomplete_after_s * 1000)
        self._retention_ms = int(retention_s * 1000)
        self._held_orders = HeldOrders(clock)
        self._cursors: dict[int, tuple[int, bytes]] = {}

    def begin(self, partition: PartitionView) -> None:
        """Restart the processing of a partition's timers at the first timer."""
        self._held_orders.request_all(partition.number)
        self._cursors.pop(partition.number, None)

    def lock_released(self, partition: PartitionView) -> None:
        """Request all held orders of a partition again, because the lock of one of them was released."""
        self._held_orders.request_all(partition.number)

    def due_timers(self, partition: PartitionView) -> DueTimers:
        """Yield the order's key and the callback of each timer to run in this turn (micro-batch)."""
        yield from self._held(partition)
        if self._after_ms:
            yield from self._overdue(partition)
        if self._retention_ms:
            yield from self._finished(partition)

    def _held(self, partition: PartitionView) -> DueTimers:
        """Yield callbacks that claim held orders again, except for those that `_overdue` reports first."""
        overdue_ms = partition.now_ms - self._after_ms if self._after_ms else 0
        for kind, at_ms, key in self._held_orders.due(partition, MOST_CALLBACKS):
            if not (kind == Standing.HELD and 0 < at_ms <= overdue_ms):
                yield key, partial(ask_again, order_id=key.decode())

    def _overdue(self, partition: PartitionView) -> DueTimers:
        """Yield callbacks that report overdue orders, oldest first; a report changes the kind of the order's timer."""
        until_ms = partition.now_ms - self._after_ms
        for kind in UNREPORTED:
            known = (key for at_ms, key in partition.timers(kind, until_ms=until_ms) if at_ms > 0)
            for key in islice(known, MOST_CALLBACKS):
                yield key, self._report(partition, key)

    def _report(self, partition: PartitionView, key: bytes) -> TimerCallback:
        return partial(report_overdue, order_id=key.decode(), now_ms=partition.now_ms, after_ms=self._after_ms)

    def _finished(self, partition: PartitionView) -> DueTimers:
        """Yield callbacks that forget finished orders, page by page in consecutive turns.

        A timer has the time of the order's first change; the callback checks the time of the last change.
        """
        until_ms, number = partition.now_ms - self._retention_ms, partition.number
        entries = partition.timers(Standing.FINISHED, after=self._cursors.get(number), until_ms=until_ms)
        page = list(islice(entries, MOST_CALLBACKS))
        if len(page) < MOST_CALLBACKS:  # start again at the first timer
            self._cursors.pop(number, None)
        else:
            self._cursors[number] = page[-1]
        for _, key in page:
            yield key, partial(forget_finished, now_ms=partition.now_ms, retention_ms=self._retention_ms)
