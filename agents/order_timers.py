"""Timers of orders that are held, have been incomplete for too long, or are finished and past their retention."""

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
    """Finds the orders whose timers are due.

    Args:
        incomplete_after_s: seconds of source time after which an incomplete order is reported; 0: never.
        retention_s: seconds of source time between a finished order's last change and its removal; 0: keep for ever.
    """

    def __init__(self, *, incomplete_after_s: float, retention_s: float) -> None:
        self._after_ms = int(incomplete_after_s * 1000)
        self._retention_ms = int(retention_s * 1000)
        self._cursors: dict[tuple[int, int], tuple[int, bytes]] = {}

    def begin(self, partition: PartitionView) -> None:
        """Start again at the first timer of a partition."""
        self._cursors = {place: at for place, at in self._cursors.items() if place[0] != partition.number}

    def due_timers(self, partition: PartitionView) -> DueTimers:
        """Yield key and callback of each timer to run in one turn."""
        yield from self._held(partition)
        if self._after_ms:
            yield from self._overdue(partition)
        if self._retention_ms:
            yield from self._finished(partition)

    def _held(self, partition: PartitionView) -> DueTimers:
        """Claim held orders again, page by page; an overdue order is reported first."""
        overdue_ms = partition.now_ms - self._after_ms if self._after_ms else -1
        for kind in HELD_KINDS:
            is_reported = bool(kind & REPORTED)
            for at_ms, key in self._page(partition, kind):
                if at_ms <= overdue_ms and not is_reported:
                    yield key, self._report(partition, key)
                else:
                    yield key, partial(ask_again, order_id=key.decode())

    def _overdue(self, partition: PartitionView) -> DueTimers:
        """Report overdue orders; a reported order changes its kind, so the oldest unreported one always comes first."""
        until_ms = partition.now_ms - self._after_ms
        for kind in WAITING:
            known = (key for at_ms, key in partition.timers(kind, until_ms=until_ms) if at_ms > 0)
            for key in islice(known, MOST_CALLBACKS):
                yield key, self._report(partition, key)

    def _report(self, partition: PartitionView, key: bytes) -> TimerCallback:
        return partial(report_overdue, order_id=key.decode(), now_ms=partition.now_ms, after_ms=self._after_ms)

    def _finished(self, partition: PartitionView) -> DueTimers:
        """Forget finished orders, selected by the time of their first change; the callback checks the last change."""
        until_ms = partition.now_ms - self._retention_ms
        for _, key in self._page(partition, Standing.FINISHED, until_ms=until_ms):
            yield key, partial(forget_finished, now_ms=partition.now_ms, retention_ms=self._retention_ms)

    def _page(self, partition: PartitionView, kind: int, *, until_ms: int | None = None) -> list[tuple[int, bytes]]:
        """The next timers of a kind; after the last one, start again at the first."""
        place = (partition.number, kind)
        entries = partition.timers(kind, after=self._cursors.get(place), until_ms=until_ms)
        page = list(islice(entries, MOST_CALLBACKS))
        if len(page) < MOST_CALLBACKS:
            self._cursors.pop(place, None)
        else:
            self._cursors[place] = page[-1]
        return page
