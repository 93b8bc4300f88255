"""The state of one partition in RocksDB, and the changelog offset it stands at."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
)

log = logging.getLogger(__name__)

WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
"""Memory of one unflushed table of one partition; RocksDB keeps two of them."""

_OFFSET: Final = b"changelog_offset"
_INCARNATION: Final = b"incarnation"
_META: Final = "meta"


class PartitionStore:
    """Keys and encoded states of one partition. The only owner of its RocksDB handle.

    Data and changelog offset are written in one `WriteBatch`, so that they cannot drift apart. The offset lives in a
    column family of its own, where no key of a source can collide with it.
    """

    def __init__(self, path: Path, cache: Cache) -> None:
        self.path = path
        self._cache = cache
        self._db = self._open()
        self.get = self._db.get

    def _open(self) -> Rdict:
        try:
            return self._open_files()
        except Exception as error:  # rocksdict raises nothing more special
            log.warning("store %s cannot be opened (%s); it is restored in full", self.path, error)
            self._remove()
            return self._open_files()

    def _open_files(self) -> Rdict:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        db = Rdict(
            str(self.path),
            options=self._options(),
            column_families={_META: self._options()},
            access_type=AccessType.read_write(),
        )
        self._meta = db.get_column_family(_META)
        self._meta_handle: Any = db.get_column_family_handle(_META)
        return db

    def _options(self) -> Options:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        options.set_max_write_buffer_number(2)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_keep_log_file_num(2)
        blocks = BlockBasedOptions()
        blocks.set_block_cache(self._cache)
        blocks.set_bloom_filter(10, False)  # most look-ups of a live shop are for orders never seen before
        options.set_block_based_table_factory(blocks)
        return options

    @property
    def changelog_offset(self) -> int | None:
        """Offset of the last changelog record that is contained, None for an empty store."""
        raw = self._meta.get(_OFFSET)
        return None if raw is None else int(raw)

    @property
    def incarnation(self) -> bytes | None:
        """Of the changelog that the store was restored from, None for a store that never was."""
        raw: bytes | None = self._meta.get(_INCARNATION)
        return raw

    def begin(self, incarnation: bytes) -> None:
        """Empty the store and let it belong to a changelog."""
        self._wipe()
        self._meta.put(_INCARNATION, incarnation)

    def write(self, entries: Iterable[tuple[bytes, bytes | None]], changelog_offset: int) -> None:
        """Write entries (None deletes) and the offset of the changelog record that they end with, atomically."""
        batch = WriteBatch(raw_mode=True)
        put = batch.put
        for key, value in entries:
            if value is None:
                batch.delete(key)
            else:
                put(key, value)
        batch.put(_OFFSET, b"%d" % changelog_offset, self._meta_handle)
        self._db.write(batch)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and encoded states, in key order."""
        items: Iterator[Any] = iter(self._db.items())
        return items

    def estimated_size(self) -> int:
        """Number of keys as RocksDB estimates it."""
        return self._db.property_int_value("rocksdb.estimate-num-keys") or 0

    def close(self) -> None:
        """Release the handle and its lock at once."""
        self._meta_handle = None  # a column family handle that is still referred to keeps the whole store locked
        self._meta.close()
        self._db.close()

    def _wipe(self) -> None:
        """Delete everything: the changelog has the truth."""
        self.close()
        self._remove()
        self._db = self._open_files()
        self.get = self._db.get

    def _remove(self) -> None:
        """Delete the files. They are renamed first: half a store, as a kill would leave it, could never be opened."""
        doomed = self.path.with_name(f"{self.path.name}.deleted")
        shutil.rmtree(doomed, ignore_errors=True)
        if self.path.exists():
            self.path.rename(doomed)
            shutil.rmtree(doomed)
