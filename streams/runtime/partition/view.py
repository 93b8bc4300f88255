"""An open partition as its processor sees it: its identity, time, timers and pending follow-ups.

A follow-up is work after a commit, such as marking emitted orders. The settled offset is the changelog offset up to
which all follow-ups are done.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from streams.runtime.state.store import PartitionStore

MOST_UNSETTLED: Final = 10_000
"""Maximum number of pending follow-ups tracked one by one; if there are more, the next task repeats all of them."""


class StoredPartitionView:
    """The `PartitionView` of a pipeline with state."""

    def __init__(self, number: int, store: PartitionStore) -> None:
        self.number = number
        self._store = store
        self._newest_seen_at = time.monotonic()
        self._changelog_offset = store.changelog_offset
        self._unsettled: deque[_Unsettled] = deque()

    @property
    def incarnation(self) -> str:
        """UUID in the changelog's first record, as 32 hexadecimal digits."""
        incarnation = self._store.incarnation
        assert incarnation is not None, "a store is restored before its partition opens"
        return incarnation.hex()

    @property
    def now_ms(self) -> int:
        """The newest source time seen, plus the time passed in this worker since then; does not read the wall clock."""
        newest = self._store.newest_ms
        return newest and newest + int((time.monotonic() - self._newest_seen_at) * 1000)

    def timers(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield time (milliseconds since 1970) and key of the timers of a kind, oldest first."""
        return self._store.timers.entries(kind, after=after, until_ms=until_ms)

    def count(self, kind: int) -> int:
        """Number of timers of a kind."""
        return self._store.timers.counts[kind]

    def pending_follow_up(self) -> Callable[[], None]:
        """Register a follow-up; the settled offset advances to the first follow-up that is still pending."""
        unsettled = self._unsettled
        item = _Unsettled(self._changelog_offset)
        if len(unsettled) < MOST_UNSETTLED:
            unsettled.append(item)

        def done() -> None:
            item.is_done = True
            while len(unsettled) < MOST_UNSETTLED and unsettled and unsettled[0].is_done:
                self._store.settled_offset = unsettled.popleft().offset

        return done

    # -- for the task -------------------------------------------------------------------------------------------------

    def note_time(self, newest_ms: int) -> None:
        """Update the newest source time with that of a turn, before the turn is written."""
        if newest_ms > self._store.newest_ms:
            self._store.newest_ms = newest_ms
            self._newest_seen_at = time.monotonic()

    def note_end(self) -> None:
        """Save the settled offset at the end of this task: everything is settled if no follow-up is pending."""
        if not self._unsettled:
            self._store.settled_offset = self._changelog_offset
        self._store.keep_settled()

    def note_written(self, changelog_offset: int) -> None:
        """Update the changelog offset after a turn was written."""
        self._changelog_offset = changelog_offset


class _Unsettled:
    """A pending follow-up of everything committed up to a changelog offset."""

    def __init__(self, offset: int | None) -> None:
        self.offset = offset
        self.is_done = False


class StatelessPartitionView:
    """The `PartitionView` of a stateless pipeline."""

    incarnation = ""
    now_ms = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def timers(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Return no timers."""
        return iter(())

    def count(self, kind: int) -> int:
        """Return 0."""
        return 0

    def pending_follow_up(self) -> Callable[[], None]:
        """Return a function that does nothing: without a store, nothing needs to be settled."""
        return lambda: None
