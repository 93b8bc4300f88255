"""Timers of a partition: an index that finds the keys that are due without scanning all states.

Each state has at most one timer, which consists of a kind and a time. A kind is a small number that the application
defines. Timers of the same kind are ordered by time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from rocksdict import Rdict, ReadOptions, WriteBatch

Timer = tuple[int, int]
"""Kind (1 to 254) and time (milliseconds since 1970) of a timer."""

TimerChange = tuple[bytes, Timer | None, Timer | None]
"""A key with its old and its new timer; None means no timer."""

TIME_BYTES: Final = 8
_HEAD: Final = 1 + TIME_BYTES


def _row(kind: int, at_ms: int, key: bytes) -> bytes:
    return bytes((kind,)) + at_ms.to_bytes(TIME_BYTES, "big") + key


class Timers:
    """The timers of a store, in a separate RocksDB column family.

    RocksDB keeps deleted entries until compaction, and iterators have to skip each of them. For each kind, a lower
    bound is therefore kept in memory, below which no timer exists, so that deleted entries are skipped only once.

    Attributes:
        counts: number of timers by kind, for the kinds that are counted.
    """

    def __init__(self, column_family: Rdict, handle: Any) -> None:
        self._db = column_family
        self._handle = handle
        self.counts: Counter[int] = Counter()
        self._floors: dict[int, bytes] = {}
        self._options: dict[int, ReadOptions] = {}

    def close(self) -> None:
        """Close the column family."""
        self._handle = None
        self._db.close()

    def write(self, batch: WriteBatch, moves: Iterable[TimerChange]) -> None:
        """Add timer changes to a write batch."""
        for key, old, new in moves:
            if old is not None:
                batch.delete(_row(*old, key), self._handle)
            if new is not None:
                batch.put(_row(*new, key), b"", self._handle)

    def count(self, moves: Iterable[TimerChange]) -> None:
        """Update the counts and lower bounds after timer changes were written."""
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
        """Recount the timers of the given kinds."""
        self.counts = Counter({kind: sum(1 for _ in self.entries(kind)) for kind in kinds})

    def entries(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (time, key) of each timer of the given kind, oldest first, after `after` and up to `until_ms`."""
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
        if is_first:  # there are no timers of this kind; `count` lowers the bound again
            self._floors[kind] = bytes((kind + 1,))

    def _within(self, kind: int) -> ReadOptions:
        """Return the read options for one kind, which are cached because iterators do not keep their options alive."""
        options = self._options.get(kind)
        if options is None:
            options = self._options[kind] = ReadOptions()
            options.set_iterate_upper_bound(bytes((kind + 1,)))
        return options
