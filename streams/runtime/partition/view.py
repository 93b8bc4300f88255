"""Implementations of `PartitionView`, through which a processor accesses an open partition.

A follow-up is an action after a commit, such as marking the published orders in Redis. The settled offset is the
changelog offset up to which all follow-ups are done.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from streams.runtime.state.store import PartitionStore

MOST_UNSETTLED: Final = 10_000
"""Maximum number of pending follow-ups that are tracked individually. At this number, tracking stops, and the next
task repeats all follow-ups from the first pending one."""


class StoredPartitionView:
    """The `PartitionView` of a partition that has a store."""

    def __init__(self, number: int, store: PartitionStore) -> None:
        self.number = number
        self.store = store
        self._newest_seen_at = time.monotonic()
        self._changelog_offset = store.changelog_offset
        self._unsettled: deque[_Unsettled] = deque()
        self._has_ended = False

    @property
    def incarnation(self) -> str:
        """UUID from the first record of the changelog, as 32 hexadecimal digits."""
        incarnation = self.store.incarnation
        assert incarnation is not None, "the store must be restored before its partition opens"
        return incarnation.hex()

    @property
    def now_ms(self) -> int:
        """Newest source time (milliseconds since 1970) plus the time elapsed since it was seen; 0 before any change."""
        newest = self.store.newest_ms
        return newest and newest + int((time.monotonic() - self._newest_seen_at) * 1000)

    def timers(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (time, key) of each timer of the given kind, oldest first; times are in milliseconds since 1970."""
        return self.store.timers.entries(kind, after=after, until_ms=until_ms)

    def count(self, kind: int) -> int:
        """Return the number of timers of the given kind."""
        return self.store.timers.counts[kind]

    def pending_follow_up(self) -> Callable[[], None]:
        """Register a follow-up (an action after a commit); return the function to call once it is done.

        The store's `settled_offset` advances past a follow-up once this and all earlier follow-ups are done.
        """
        unsettled = self._unsettled
        item = _Unsettled(self._changelog_offset)
        if len(unsettled) < MOST_UNSETTLED:
            unsettled.append(item)

        def done() -> None:
            item.is_done = True
            while not self._has_ended and len(unsettled) < MOST_UNSETTLED and unsettled and unsettled[0].is_done:
                self.store.settled_offset = unsettled.popleft().offset

        return done

    # -- used by the task ---------------------------------------------------------------------------------------------

    def note_time(self, newest_ms: int) -> None:
        """Advance the newest source time to that of a turn (micro-batch) that is about to be written to the store."""
        if newest_ms > self.store.newest_ms:
            self.store.newest_ms = newest_ms
            self._newest_seen_at = time.monotonic()

    def note_end(self) -> None:
        """Save `settled_offset` when the task ends; if no follow-up is pending, it equals the changelog offset.

        Follow-ups that are done later do not count, because the store may have another owner by then.
        """
        self._has_ended = True
        if not self._unsettled:
            self.store.settled_offset = self._changelog_offset
        self.store.keep_settled()

    def note_written(self, changelog_offset: int) -> None:
        """Update the changelog offset after a turn (micro-batch) was written to the store."""
        self._changelog_offset = changelog_offset


class _Unsettled:
    """A registered follow-up, with the changelog offset of the last commit that it covers."""

    def __init__(self, offset: int | None) -> None:
        self.offset = offset
        self.is_done = False


class StatelessPartitionView:
    """The `PartitionView` of a partition without a store."""

    incarnation = ""
    now_ms = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def timers(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Return an empty iterator, because a stateless pipeline has no timers."""
        return iter(())

    def count(self, kind: int) -> int:
        """Return 0, because a stateless pipeline has no timers."""
        return 0

    def pending_follow_up(self) -> Callable[[], None]:
        """Return a function that does nothing, because follow-ups of a stateless pipeline are not tracked."""
        return lambda: None
