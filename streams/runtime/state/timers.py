"""Timers of a partition: they find keys whose states are due, without a source change and without a scan.

Each state has at most one timer: a kind and a time. A kind is a small number defined by the application; within a
kind, timers are ordered by time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from rocksdict import Rdict, ReadOptions, WriteBatch

Timer = tuple[int, int]
"""Kind (1 to 254) and time (milliseconds since 1970)."""

TimerChange = tuple[bytes, Timer | None, Timer | None]
"""Key, its old timer, and its new timer (None: no timer)."""

TIME_BYTES: Final = 8
_HEAD: Final = 1 + TIME_BYTES


def _row(kind: int, at_ms: int, key: bytes) -> bytes:
    return bytes((kind,)) + at_ms.to_bytes(TIME_BYTES, "big") + key


class Timers:
    """The timers of a store, in a RocksDB column family of their own.

    RocksDB keeps deleted entries until compaction, and an iterator has to step over each of them. So every kind has a
    lower bound in memory, below which there is no entry; thus no deleted entry is stepped over twice.

    Attributes:
        counts: number of timers by kind.
    """

    def __init__(self, column_family: Rdict, handle: Any) -> None:
        self._db = column_family
        self._handle = handle
        self.counts: Counter[int] = Counter()
        self._floors: dict[int, bytes] = {}
        self._options: dict[int, ReadOptions] = {}

    def close(self) -> None:
        """Release the column family."""
        self._handle = None
        self._db.close()

    def write(self, batch: WriteBatch, moves: Iterable[TimerChange]) -> None:
        """Add changes of timers to a write batch of the store."""
        for key, old, new in moves:
            if old is not None:
                batch.delete(_row(*old, key), self._handle)
            if new is not None:
                batch.put(_row(*new, key), b"", self._handle)

    def count(self, moves: Iterable[TimerChange]) -> None:
        """Update the counts with changes that were written."""
        counts = self.counts
        for key, old, new in moves:
            if old is not None:
                counts[old[0]] -= 1
            if new is not None:
                kind = new[0]
                counts[kind] += 1
                floor = self._floors.get(kind)
                if floor is not None and (row := _row(*new, key)) < floor:
                    self._floors[kind] = row

    def clear(self) -> None:
        """Delete all timers."""
        self._db.delete_range(b"\0", b"\xff" * (_HEAD + 1))
        self.counts.clear()
        self._floors.clear()

    def count_all(self, kinds: Iterable[int]) -> None:
        """Recount the timers of these kinds."""
        self.counts = Counter({kind: sum(1 for _ in self.entries(kind)) for kind in kinds})

    def entries(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield time and key of the timers of a kind, oldest first, up to `until_ms`, and after the entry `after`."""
        start = floor = self._floors.get(kind, bytes((kind,)))
        if after is not None:
            start = max(floor, _row(kind, *after) + b"\0")
        is_first = start == floor
        for row in self._db.keys(from_key=start, read_opt=self._within(kind)):
            assert isinstance(row, bytes)
            if is_first:
                self._floors[kind] = row
                is_first = False
            at_ms = int.from_bytes(row[1:_HEAD], "big")
            if until_ms is not None and at_ms > until_ms:
                return
            yield at_ms, row[_HEAD:]
        if is_first:  # there is no entry: the next one added is the first
            self._floors[kind] = bytes((kind + 1,))

    def _within(self, kind: int) -> ReadOptions:
        """Options for reading one kind. An iterator does not keep its options alive, so they are kept here."""
        options = self._options.get(kind)
        if options is None:
            options = self._options[kind] = ReadOptions()
            options.set_iterate_upper_bound(bytes((kind + 1,)))
        return options
