"""The RocksDB store of one partition: its states, its timers, and the changelog offset that they correspond to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rocksdict import (
    AccessType,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
)

from streams.model.source_time import is_credible
from streams.runtime.state.codec import StateCodec
from streams.runtime.state.memory import StoreMemory
from streams.runtime.state.timers import Timer, TimerChange, Timers

log = logging.getLogger(__name__)

REBUILD_ENTRIES: Final = 5_000
"""Number of states to read between two pauses for the event loop while timers are rebuilt."""

_OFFSET: Final = b"changelog_offset"
_SETTLED: Final = b"settled_offset"
_NEWEST: Final = b"newest_ms"
_UP_TO_DATE: Final = b"up_to_date_at_s"
_INCARNATION: Final = b"incarnation"
_SOURCE_IDS: Final = b"source_ids"
_TIMERS_VERSION: Final = b"agenda_version"  # on disk, timers have an older name
_META: Final = "meta"
_TIMERS: Final = "agenda"

UP_TO_DATE_INTERVAL_S: Final = 60
"""Interval in seconds at which an idle store saves the time at which it was last up to date."""

Entry = tuple[bytes, bytes | None]
"""A key and its encoded state; None deletes the key."""


class StoreWriteError(Exception):
    """A write to the store failed, usually because the disk is full or broken."""


class PartitionStore:
    """The encoded states, timers and metadata of one partition, in a RocksDB database that only this object uses.

    States, timers and changelog offset are written in one atomic `WriteBatch`, so that they always match. Timers and
    metadata have their own column families, so that source keys cannot collide with them.

    Attributes:
        is_sound: whether the store has accepted all writes; otherwise it has to be opened again.
        settled_offset: changelog offset up to which all follow-ups (actions after commits) are done, or None if
            unknown; saved with the next write.
        newest_ms: newest source time of all changes, in milliseconds since 1970, or 0 if unknown; saved with the next
            write.
    """

    def __init__(self, path: Path, memory: StoreMemory) -> None:
        self.path = path
        self.is_sound = True
        self._memory = memory
        self._db = self._open()
        self._read_meta()

    def _open(self) -> Rdict:
        try:
            return self._open_files()
        except Exception as error:  # rocksdict has no more specific error
            log.warning("cannot open store %s: %s; restoring it in full from its changelog", self.path, error)
            with self._naming_refusals():
                self._remove()
                return self._open_files()

    def _open_files(self) -> Rdict:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        memory = self._memory
        db = Rdict(
            str(self.path),
            options=self._options(memory.write_buffer_bytes),
            column_families={name: self._options(memory.small_buffer_bytes) for name in (_META, _TIMERS)},
            access_type=AccessType.read_write(),
        )
        self._meta = db.get_column_family(_META)
        self._meta_handle: Any = db.get_column_family_handle(_META)
        self.timers = Timers(db.get_column_family(_TIMERS), db.get_column_family_handle(_TIMERS))
        return db

    def read_again(self) -> None:
        """Drop what was read from the store into memory, as if the store had just been opened."""
        self._read_meta()

    def _read_meta(self) -> None:
        self.get = self._db.get
        self.settled_offset = self._number(_SETTLED)
        self.newest_ms = self._number(_NEWEST) or 0
        self._noted_at_s = 0

    def _options(self, write_buffer_bytes: int) -> Options:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_keep_log_file_num(2)
        self._memory.apply(options, write_buffer_bytes)
        return options

    @property
    def changelog_offset(self) -> int | None:
        """Offset of the last changelog record that the store contains; None for an empty store."""
        return self._number(_OFFSET)

    def _put_meta(self, name: bytes, value: bytes) -> None:
        with self._naming_refusals():
            self._meta.put(name, value)

    @contextlib.contextmanager
    def _naming_refusals(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # rocksdict has no more specific error
            self.is_sound = False
            raise StoreWriteError(f"cannot write to store {self.path}: {error}") from error

    def _number(self, name: bytes) -> int | None:
        raw = self._meta.get(name)
        return None if raw is None else int(raw)

    @property
    def incarnation(self) -> bytes | None:
        """Incarnation (UUID) of the changelog that the store was restored from; None if it was never restored."""
        raw: bytes | None = self._meta.get(_INCARNATION)
        return raw

    @property
    def source_ids(self) -> Mapping[str, str]:
        """Ids of the source topics that the states were made from, keyed by topic; empty if unknown."""
        raw = self._meta.get(_SOURCE_IDS)
        return {} if raw is None else msgspec.json.decode(raw, type=dict[str, str])

    def keep_source_ids(self, ids: Mapping[str, str]) -> None:
        """Save the ids of some source topics, as the changelog has them."""
        self._put_meta(_SOURCE_IDS, msgspec.json.encode({**self.source_ids, **ids}))

    @property
    def age_s(self) -> float:
        """Seconds since the store was last known to be up to date with its changelog, by the system clock."""
        return max(0.0, time.time() - (self._number(_UP_TO_DATE) or 0))

    def note_up_to_date(self) -> None:
        """Save the current time as the last time the store was up to date; saves at most once a minute."""
        if time.time() >= self._noted_at_s + UP_TO_DATE_INTERVAL_S:
            self._noted_at_s = int(time.time())
            self._put_meta(_UP_TO_DATE, b"%d" % self._noted_at_s)

    def begin(self, incarnation: bytes) -> None:
        """Empty the store, and save the incarnation of the changelog that it will be restored from."""
        self._wipe()
        self._put_meta(_INCARNATION, incarnation)

    def write(self, entries: Iterable[Entry], changelog_offset: int, moves: Sequence[TimerChange] = ()) -> None:
        """Write states, timer changes and the offset of the last changelog record atomically.

        Raises:
            StoreWriteError: the write failed; earlier writes are not affected.
        """
        batch = WriteBatch(raw_mode=True)
        put = batch.put
        for key, value in entries:
            if value is None:
                batch.delete(key)
            else:
                put(key, value)
        self.timers.write(batch, moves)
        meta = self._meta_handle
        put(_OFFSET, b"%d" % changelog_offset, meta)
        put(_NEWEST, b"%d" % self.newest_ms, meta)
        put(_UP_TO_DATE, b"%d" % time.time(), meta)
        if self.settled_offset is not None:
            put(_SETTLED, b"%d" % self.settled_offset, meta)
        with self._naming_refusals():
            self._db.write(batch)
        self.timers.count(moves)

    def restore(self, entries: Sequence[Entry], changelog_offset: int, codec: StateCodec[Any]) -> None:
        """Write entries read from the changelog; also update the timers, unless they are to be rebuilt afterwards."""
        self.write(entries, changelog_offset, self._moves(entries, codec) if self._has_timers(codec) else ())

    def _moves(self, entries: Sequence[Entry], codec: StateCodec[Any]) -> list[TimerChange]:
        moves: list[TimerChange] = []
        for key, value in dict(entries).items():
            known = self.get(key)
            old, new = self._timer(codec, key, known), self._timer(codec, key, value)
            if old != new:
                moves.append((key, old, new))
        return moves

    def _timer(self, codec: StateCodec[Any], key: bytes, encoded: bytes | None) -> Timer | None:
        state = codec.readable(key, encoded)
        return None if state is None else codec.timer_of(state)

    def _has_timers(self, codec: StateCodec[Any]) -> bool:
        return bool(self._meta.get(_TIMERS_VERSION) == codec.timers_version)

    async def complete_timers(self, codec: StateCodec[Any]) -> None:
        """Complete a restoration: rebuild the timers if their version differs from the codec's, and count them."""
        self._lower_newest()
        if not self._has_timers(codec):
            self.timers.clear()
            moves: list[TimerChange] = []
            for number, (key, state) in enumerate(self.items(), start=1):
                entry = self._timer(codec, key, state)
                if entry is not None:
                    moves.append((key, None, entry))
                    self._note_time(entry[1])
                if number % REBUILD_ENTRIES == 0:
                    self._add_timers(moves)
                    moves = []
                    await asyncio.sleep(0)
            self._add_timers(moves)
            self._put_meta(_TIMERS_VERSION, codec.timers_version)
        self.timers.count_all(codec.counted_kinds)
        if not self.newest_ms:
            for kind in codec.counted_kinds:
                for at_ms, _ in self.timers.entries(kind):
                    self._note_time(at_ms)

    def _lower_newest(self) -> None:
        """Forget the newest source time if it is too far ahead of this machine's clock."""
        if self.newest_ms and not is_credible(self.newest_ms, int(time.time() * 1000)):
            log.warning(
                "store %s: the newest source time, %d ms since 1970, is over a day ahead of this machine's clock; "
                "taking it from the states instead",
                self.path,
                self.newest_ms,
            )
            self.newest_ms = 0

    def _note_time(self, at_ms: int) -> None:
        """Raise the newest source time to that of a state, unless it is too far ahead of this machine's clock."""
        if at_ms > self.newest_ms and is_credible(at_ms, int(time.time() * 1000)):
            self.newest_ms = at_ms

    def _add_timers(self, moves: Sequence[TimerChange]) -> None:
        batch = WriteBatch(raw_mode=True)
        self.timers.write(batch, moves)
        with self._naming_refusals():
            self._db.write(batch)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Return an iterator over all keys and encoded states, in key order."""
        items: Iterator[Any] = iter(self._db.items())
        return items

    def estimated_size(self) -> int:
        """Return the number of keys as estimated by RocksDB."""
        return self._db.property_int_value("rocksdb.estimate-num-keys") or 0

    def keep_settled(self) -> None:
        """Save `settled_offset` immediately instead of with the next write."""
        if self.settled_offset is not None and self.settled_offset != self._number(_SETTLED):
            self._put_meta(_SETTLED, b"%d" % self.settled_offset)

    def close(self) -> None:
        """Close the RocksDB database and release its lock immediately."""
        self._meta_handle = None  # a remaining reference to a column family handle would keep the store locked
        for part in (self._meta, self.timers, self._db):
            try:
                part.close()
            except Exception as error:  # happens after a failed write; earlier writes are safe on disk
                log.warning("store %s did not close cleanly: %s", self.path, error)

    def _wipe(self) -> None:
        """Delete all data, and reopen the store empty."""
        self.is_sound = False
        self.close()
        self._remove()
        self._db = self._open_files()
        self._read_meta()
        self.is_sound = True

    def _remove(self) -> None:
        """Rename the store's folder, then delete it: a kill in between must not leave a store that cannot be opened."""
        doomed = self.path.with_name(f"{self.path.name}.deleted")
        shutil.rmtree(doomed, ignore_errors=True)
        if self.path.exists():
            self.path.rename(doomed)
            shutil.rmtree(doomed)
