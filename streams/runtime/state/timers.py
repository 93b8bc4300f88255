"""The timers of a partition: keys whose states are due without a change of the source, found without a scan.

Each state has at most one timer, a kind and a time. A kind is a small number that means something to the
application only; within a kind, timers are in the order of their times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from rocksdict import Rdict, ReadOptions, WriteBatch

Timer = tuple[int, int]
"""Kind (1 to 254) and time (milliseconds since 1970)."""

TimerChange = tuple[bytes, Timer | None, Timer | None]
"""Key, its timer before (None: no timer), its timer now."""

TIME_BYTES: Final = 8
_HEAD: Final = 1 + TIME_BYTES


def _row(kind: int, at_ms: int, key: bytes) -> bytes:
    return bytes((kind,)) + at_ms.to_bytes(TIME_BYTES, "big") + key


class Timers:
    """The column family of a store that holds its timers.

    RocksDB keeps deleted entries until it compacts them, and an iterator has to step over each. So every kind has a
    floor in memory, below which no entry is: what was stepped over once is not stepped over again.

    Attributes:
        counts: number of entries by kind.
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
        """Add moves to a write of the store."""
        for key, old, new in moves:
            if old is not None:
                batch.delete(_row(*old, key), self._handle)
            if new is not None:
                batch.put(_row(*new, key), b"", self._handle)

    def count(self, moves: Iterable[TimerChange]) -> None:
        """Account for moves, once they are written."""
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
        """Delete every entry."""
        self._db.delete_range(b"\0", b"\xff" * (_HEAD + 1))
        self.counts.clear()
        self._floors.clear()

    def count_all(self, kinds: Iterable[int]) -> None:
        """Count the entries of these kinds anew."""
        self.counts = Counter({kind: sum(1 for _ in self.entries(kind)) for kind in kinds})

    def entries(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Time and key of the entries of a kind, oldest first, up to a time; after an entry if one is given."""
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
        if is_first:  # there is none: the next one to come is the first
            self._floors[kind] = bytes((kind + 1,))

    def _within(self, kind: int) -> ReadOptions:
        """Reading that ends where the next kind begins. An iterator does not keep its options alive: this does."""
        options = self._options.get(kind)
        if options is None:
            options = self._options[kind] = ReadOptions()
            options.set_iterate_upper_bound(bytes((kind + 1,)))
        return options
