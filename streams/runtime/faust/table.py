"""The state as Faust sees it: a real table, listed by `faust tables`, routed by `@app.table_route`, read by views.

It is written through a partition's turn only; an assignment to a key is refused, because it could be neither part of
a transaction nor of the store's order of writes.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import faust
from aiokafka.partitioner import DefaultPartitioner
from faust.stores.base import SerializedStore
from faust.types import TP
from rocksdict import Cache

from streams.runtime.state.codec import StateCodec
from streams.runtime.state.store import PartitionStore

log = logging.getLogger(__name__)

BLOCK_CACHE_BYTES: Final = 64 * 1024 * 1024
"""RocksDB's read cache of one worker, shared by its partitions."""


class NotHere(Exception):
    """The key's partition is not open in this worker, or is still being restored."""


def refuse_write(table: str) -> NoReturn:
    """A write past the turns could be neither part of a transaction nor of the store's order of writes."""
    raise TypeError(f"table {table} is written through its partitions' turns only")


class PartitionedStore(SerializedStore[Any, Any]):
    """The stores of the partitions that are open in this worker, behind Faust's store interface."""

    def __init__(self, table: TransactionalTable) -> None:
        super().__init__(
            "rocksdb://", table.app, table, key_type=bytes, value_type=bytes, key_serializer="raw", loop=table.loop
        )
        self._codec = table.codec
        self._count = table.partitions or 1
        self._partitioner = DefaultPartitioner()
        self._cache = Cache(BLOCK_CACHE_BYTES)
        self._open: dict[int, PartitionStore] = {}
        self._readable: set[int] = set()

    # -- life cycle, used by the partitions ---------------------------------------------------------------------------

    def open_partition(self, partition: int) -> PartitionStore:
        """Open the store of a partition; it becomes readable by views once it is restored."""
        assert partition not in self._open, f"partition {partition} is open already"
        store = PartitionStore(self._folder() / str(partition), self._cache)
        self._open[partition] = store
        return store

    def set_readable(self, partition: int) -> None:
        """Let views read a partition: its store equals its changelog."""
        self._readable.add(partition)

    def close_partition(self, partition: int) -> None:
        """Close the store of a partition, if it is open."""
        self._readable.discard(partition)
        store = self._open.pop(partition, None)
        if store is not None:
            store.close()

    def _folder(self) -> Path:
        return Path(self.app.conf.tabledir) / str(self.table_name)

    def partition_of(self, key: bytes) -> int:
        """The partition a key belongs to, by the same hash as the producers'."""
        numbers = list(range(self._count))
        return int(self._partitioner(key, numbers, numbers))

    # -- reading ------------------------------------------------------------------------------------------------------

    def _encode_key(self, key: Any) -> bytes:
        return key.encode() if isinstance(key, str) else bytes(key)

    def _decode_key(self, key: bytes | None) -> Any:
        assert key is not None
        return key.decode()

    def _decode_value(self, value: bytes | None) -> Any:
        assert value is not None
        return self._codec.decode(value)

    def _get(self, key: bytes) -> bytes | None:
        partition = self.partition_of(key)
        if partition not in self._readable:
            raise NotHere(f"partition {partition} is not ready in this worker")
        value: bytes | None = self._open[partition].get(key)
        return value

    def _contains(self, key: bytes) -> bool:
        return self._get(key) is not None

    def _iteritems(self) -> Iterator[tuple[bytes, bytes]]:
        for partition in sorted(self._readable):
            yield from self._open[partition].items()

    def _iterkeys(self) -> Iterator[bytes]:
        return (key for key, _ in self._iteritems())

    def _itervalues(self) -> Iterator[bytes | None]:
        return (value for _, value in self._iteritems())

    def _size(self) -> int:
        return sum(self._open[partition].estimated_size() for partition in self._readable)

    # -- writing goes another way -------------------------------------------------------------------------------------

    def _refuse(self) -> NoReturn:
        refuse_write(self.table_name)

    def _set(self, key: bytes, value: bytes | None) -> None:
        self._refuse()

    def _del(self, key: bytes) -> None:
        self._refuse()

    def _clear(self) -> None:
        self._refuse()

    async def backup_partition(self, tp: Any, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """Refused: a store is rebuilt from its changelog."""
        self._refuse()

    def restore_backup(self, tp: Any, latest: bool = True, backup_id: int = 0) -> None:
        """Refused: a store is rebuilt from its changelog."""
        self._refuse()

    def reset_state(self) -> None:
        """Delete the worker's local state, for `faust reset`; it is restored from the changelog at the next start."""
        shutil.rmtree(self._folder(), ignore_errors=True)

    async def need_active_standby_for(self, tp: TP) -> bool:
        """Standbys are not taken from Faust's recovery."""
        return False


class TransactionalTable(faust.Table[Any, Any]):
    """A Faust table whose partitions are written by turns. Keys are text, stored as the record keys' bytes."""

    def __init__(self, app: Any, *, codec: StateCodec[Any], **options: Any) -> None:
        super().__init__(app, key_type=bytes, value_type=bytes, **options)
        self.codec = codec

    def _new_store(self) -> PartitionedStore:
        return PartitionedStore(self)

    @property
    def stores(self) -> PartitionedStore:
        """The stores of the partitions that this worker owns."""
        data: PartitionedStore = self.data  # type: ignore[assignment]
        return data

    @property
    def changelog_name(self) -> str:
        """Name of the changelog topic."""
        return str(self.changelog_topic.get_topic_name())

    def on_key_set(self, key: Any, value: Any) -> None:
        """Refuse `table[key] = value`."""
        refuse_write(self.name)

    def on_key_del(self, key: Any) -> None:
        """Refuse `del table[key]`."""
        refuse_write(self.name)

    def persisted_offset(self, tp: TP) -> int | None:
        """Faust's recovery does not run on this table."""
        return None

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Faust's recovery does not run on this table."""
        refuse_write(self.name)
