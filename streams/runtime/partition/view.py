"""An open partition as its processor sees it: its identity, its time, its timers, and what remains to be settled."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from streams.runtime.state.store import PartitionStore

MOST_UNSETTLED: Final = 10_000
"""So many turns whose follow-up did not come are not told apart any more; the next task settles them."""


class StoredPartitionView:
    """The `PartitionView` of a pipeline with a state."""

    def __init__(self, number: int, store: PartitionStore) -> None:
        self.number = number
        self._store = store
        self._newest_seen_at = time.monotonic()
        self._changelog_offset = store.changelog_offset
        self._unsettled: deque[_Unsettled] = deque()

    @property
    def incarnation(self) -> str:
        """The UUID at the head of the changelog, as 32 hexadecimal digits."""
        incarnation = self._store.incarnation
        assert incarnation is not None, "a store is restored before its partition opens"
        return incarnation.hex()

    @property
    def now_ms(self) -> int:
        """The newest source time seen, and what has passed here since: no wall clock is read."""
        newest = self._store.newest_ms
        return newest and newest + int((time.monotonic() - self._newest_seen_at) * 1000)

    def timers(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Time and key of the timers of a kind, oldest first."""
        return self._store.timers.entries(kind, after=after, until_ms=until_ms)

    def count(self, kind: int) -> int:
        """Number of timers of a kind."""
        return self._store.timers.counts[kind]

    def pending_follow_up(self) -> Callable[[], None]:
        """Note something that remains to be done; done things settle the store up to the first one that is not."""
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
        """Take in the newest source time of a turn, before it is written."""
        if newest_ms > self._store.newest_ms:
            self._store.newest_ms = newest_ms
            self._newest_seen_at = time.monotonic()

    def note_end(self) -> None:
        """Keep what is settled at the end of this task: everything, if nothing remains to be done."""
        if not self._unsettled:
            self._store.settled_offset = self._changelog_offset
        self._store.keep_settled()

    def note_written(self, changelog_offset: int) -> None:
        """Take in the changelog offset of a turn that was written."""
        self._changelog_offset = changelog_offset


class _Unsettled:
    """Something that remains to be done for what is committed up to a changelog offset."""

    def __init__(self, offset: int | None) -> None:
        self.offset = offset
        self.is_done = False


class StatelessPartitionView:
    """The `PartitionView` of a pipeline that keeps no state."""

    incarnation = ""
    now_ms = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def timers(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Nothing."""
        return iter(())

    def count(self, kind: int) -> int:
        """Nothing."""
        return 0

    def pending_follow_up(self) -> Callable[[], None]:
        """Nothing is settled without a store."""
        return lambda: None
