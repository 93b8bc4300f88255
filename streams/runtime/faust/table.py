"""A Faust table over the partitions' stores, for `faust tables`, `@app.table_route` and web views.

Only the turns (micro-batches) of its partitions write to the table. Assigning a value to a key raises a TypeError,
because the write would not be part of a transaction, and could be out of order with the other writes to the store.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import faust
from faust.stores.base import SerializedStore
from faust.types import TP

from streams.runtime.partition.hashing import partition_of
from streams.runtime.state.codec import StateCodec
from streams.runtime.state.memory import StoreMemory
from streams.runtime.state.store import PartitionStore
from streams.runtime.state.threads import CLOSING, OPENING, in_thread, until_done

log = logging.getLogger(__name__)


class NotHere(Exception):
    """The key's partition is not open in this worker, or is still being restored."""


def refuse_write(table: str) -> NoReturn:
    """Raise a TypeError for a write outside a turn (micro-batch), which would not be part of a transaction."""
    raise TypeError(f"cannot write to table {table} directly: change its states in a fold function or a timer callback")


class PartitionedStore(SerializedStore[Any, Any]):
    """A read-only Faust store over the `PartitionStore`s of the partitions that are open in this worker."""

    def __init__(self, table: TransactionalTable) -> None:
        super().__init__(
            "rocksdb://", table.app, table, key_type=bytes, value_type=bytes, key_serializer="raw", loop=table.loop
        )
        self._codec = table.codec
        self._count = table.partitions or 1
        self._memory = StoreMemory(table.memory_bytes, stores=self._count)
        self._open: dict[int, PartitionStore] = {}
        self._owned: set[int] = set()
        self._readable: set[int] = set()
        self._kept: dict[int, PartitionStore] = {}
        self._closing: dict[int, asyncio.Future[None]] = {}

    # -- life cycle, used by the partitions ---------------------------------------------------------------------------

    async def open_partition(self, partition: int) -> PartitionStore:
        """Open and return the store of a partition; web views cannot read it until `set_readable` is called.

        A store that was kept open is returned as it is. If the caller is cancelled, the store may be open nevertheless,
        and has to be closed.
        """
        assert partition not in self._owned, f"the store of partition {partition} is already open"
        self._owned.add(partition)
        try:
            if partition in self._closing:
                await asyncio.wait({self._closing[partition]})
            kept = self._kept.pop(partition, None)
            if kept is None:
                await in_thread(OPENING, self._open_in_thread, partition)
            else:
                self._open[partition] = kept
                kept.read_again()
        finally:
            if partition not in self._open:
                self._owned.discard(partition)
        return self._open[partition]

    def _open_in_thread(self, partition: int) -> None:
        self._open[partition] = PartitionStore(self._folder() / str(partition), self._memory)

    def set_readable(self, partition: int) -> None:
        """Allow web views to read a partition's store, which is now up to date with its changelog."""
        self._readable.add(partition)

    async def close_partition(self, partition: int) -> None:
        """End the use of a partition's store if it is open; from the call on, web views cannot read it.

        The store is kept open, because most partitions stay in the same worker when the group is rebalanced. It is
        closed if it has refused a write, and otherwise by `close_kept`.
        """
        self._readable.discard(partition)
        store = self._open.pop(partition, None)
        if store is None:
            return
        self._kept[partition] = store
        self._owned.discard(partition)
        if not store.is_sound:
            await self._close(partition)

    async def close_kept(self, *, besides: Collection[int] = ()) -> None:
        """Close the stores that are kept open and in no use, except those of some partitions."""
        await asyncio.gather(*[self._close(partition) for partition in self._kept.keys() - {*besides}])

    async def _close(self, partition: int) -> None:
        """Close a store that is kept open. The next owner waits until it is closed."""
        closing = asyncio.ensure_future(in_thread(CLOSING, self._kept.pop(partition).close))
        self._closing[partition] = closing
        try:
            await until_done(closing)
        finally:
            del self._closing[partition]

    def _folder(self) -> Path:
        return Path(self.app.conf.tabledir) / str(self.table_name)

    def partition_of(self, key: bytes) -> int:
        """Return the partition of a key, by the hash function of Kafka's default partitioner."""
        return partition_of(key, self._count)

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
            raise NotHere(
                f"partition {partition} of {self.table_name} is not open in this worker, or is still being restored"
            )
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

    # -- writing is not supported -------------------------------------------------------------------------------------

    def _refuse(self) -> NoReturn:
        refuse_write(self.table_name)

    def _set(self, key: bytes, value: bytes | None) -> None:
        self._refuse()

    def _del(self, key: bytes) -> None:
        self._refuse()

    def _clear(self) -> None:
        self._refuse()

    async def backup_partition(self, tp: Any, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """Raise a TypeError: backups are not supported, because stores are restored from their changelogs."""
        self._refuse()

    def restore_backup(self, tp: Any, latest: bool = True, backup_id: int = 0) -> None:
        """Raise a TypeError: backups are not supported, because stores are restored from their changelogs."""
        self._refuse()

    def reset_state(self) -> None:
        """Delete this worker's local state for `faust reset`; the next start restores it from the changelog."""
        shutil.rmtree(self._folder(), ignore_errors=True)

    async def need_active_standby_for(self, tp: TP) -> bool:
        """Return False, because standbys do not use Faust's recovery."""
        return False


class TransactionalTable(faust.Table[Any, Any]):
    """A Faust table that only the turns (micro-batches) of its partitions write to. Keys are text, stored as UTF-8.

    Args:
        memory_bytes: memory that the table's RocksDB stores share in this worker.
    """

    def __init__(self, app: Any, *, codec: StateCodec[Any], memory_bytes: int, **options: Any) -> None:
        super().__init__(app, key_type=bytes, value_type=bytes, **options)
        self.codec = codec
        self.memory_bytes = memory_bytes

    def _new_store(self) -> PartitionedStore:
        return PartitionedStore(self)

    @property
    def stores(self) -> PartitionedStore:
        """Stores of the partitions that are open in this worker."""
        data: PartitionedStore = self.data  # type: ignore[assignment]
        return data

    @property
    def changelog_name(self) -> str:
        """Name of the table's changelog topic."""
        return str(self.changelog_topic.get_topic_name())

    def on_key_set(self, key: Any, value: Any) -> None:
        """Raise a TypeError for `table[key] = value`, because direct writes are not supported."""
        refuse_write(self.name)

    def on_key_del(self, key: Any) -> None:
        """Raise a TypeError for `del table[key]`, because direct writes are not supported."""
        refuse_write(self.name)

    def persisted_offset(self, tp: TP) -> int | None:
        """Return None, because Faust's recovery is not used for this table."""
        return None

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Raise a TypeError, because Faust's recovery is not used for this table."""
        refuse_write(self.name)
