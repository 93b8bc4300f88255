"""Timers that retry orders locked by another deployment, report overdue orders, and forget finished orders in time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Final

from streams.model.order_life import (
    HELD_KINDS,
    REPORTED,
    WAITING,
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
    """

    def __init__(self, *, incomplete_after_s: float, retention_s: float) -> None:
        self._after_ms = int(incomplete_after_s * 1000)
        self._retention_ms = int(retention_s * 1000)
        self._cursors: dict[tuple[int, int], tuple[int, bytes]] = {}

    def begin(self, partition: PartitionView) -> None:
        """Restart the processing of a partition's timers at the first timer."""
        self._cursors = {place: at for place, at in self._cursors.items() if place[0] != partition.number}

    def due_timers(self, partition: PartitionView) -> DueTimers:
        """Yield the order's key and the callback of each timer to run in this turn (micro-batch)."""
        yield from self._held(partition)
        if self._after_ms:
            yield from self._overdue(partition)
        if self._retention_ms:
            yield from self._finished(partition)

    def _held(self, partition: PartitionView) -> DueTimers:
        """Yield callbacks that claim held orders again, or report those that are overdue and not reported yet."""
        overdue_ms = partition.now_ms - self._after_ms if self._after_ms else -1
        for kind in HELD_KINDS:
            is_reported = bool(kind & REPORTED)
            for at_ms, key in self._page(partition, kind):
                if at_ms <= overdue_ms and not is_reported:
                    yield key, self._report(partition, key)
                else:
                    yield key, partial(ask_again, order_id=key.decode())

    def _overdue(self, partition: PartitionView) -> DueTimers:
        """Yield callbacks that report overdue orders, oldest first; a report changes the kind of the order's timer."""
        until_ms = partition.now_ms - self._after_ms
        for kind in WAITING:
            known = (key for at_ms, key in partition.timers(kind, until_ms=until_ms) if at_ms > 0)
            for key in islice(known, MOST_CALLBACKS):
                yield key, self._report(partition, key)

    def _report(self, partition: PartitionView, key: bytes) -> TimerCallback:
        return partial(report_overdue, order_id=key.decode(), now_ms=partition.now_ms, after_ms=self._after_ms)

    def _finished(self, partition: PartitionView) -> DueTimers:
        """Yield callbacks that forget finished orders.

        A timer has the time of the order's first change; the callback checks the time of the last change.
        """
        until_ms = partition.now_ms - self._retention_ms
        for _, key in self._page(partition, Standing.FINISHED, until_ms=until_ms):
            yield key, partial(forget_finished, now_ms=partition.now_ms, retention_ms=self._retention_ms)

    def _page(self, partition: PartitionView, kind: int, *, until_ms: int | None = None) -> list[tuple[int, bytes]]:
        """Return the next page of timers of a kind; after the last page, start again at the first timer."""
        place = (partition.number, kind)
        entries = partition.timers(kind, after=self._cursors.get(place), until_ms=until_ms)
        page = list(islice(entries, MOST_CALLBACKS))
        if len(page) < MOST_CALLBACKS:
            self._cursors.pop(place, None)
        else:
            self._cursors[place] = page[-1]
        return page
