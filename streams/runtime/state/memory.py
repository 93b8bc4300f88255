"""The memory that the RocksDB stores of one worker share, with one limit for all of them."""

from __future__ import annotations

from typing import Final

from rocksdict import BlockBasedOptions, Cache, Options, WriteBufferManager

LARGEST_WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
SMALLEST_WRITE_BUFFER_BYTES: Final = 256 * 1024
"""Size of one RocksDB memtable for a partition's states, at most and at least; there are at most two at a time."""

LARGEST_SMALL_BUFFER_BYTES: Final = 2 * 1024 * 1024
"""Maximum size of one RocksDB memtable for a partition's timers, and for the store's metadata."""


class StoreMemory:
    """One block cache for all stores of a worker, to which index blocks, filters and memtables are charged as well.

    Memtables may take half of the memory. If all memtables together are larger, a write to a store flushes the memtable
    of this store, but RocksDB never flushes those of idle stores. The half is therefore also divided by the number of
    stores.

    Args:
        limit_bytes: size of the cache. RocksDB exceeds it slightly, because memtables are counted in blocks, and
            because some memory is allocated outside the cache.
        stores: number of stores among which the memtables' half is divided.
    """

    def __init__(self, limit_bytes: int, *, stores: int = 1) -> None:
        self._cache = Cache(limit_bytes)
        for_memtables = limit_bytes // 2
        self._memtables = WriteBufferManager.new_write_buffer_manager_with_cache(for_memtables, False, self._cache)
        share = max(for_memtables // stores, SMALLEST_WRITE_BUFFER_BYTES)
        self.write_buffer_bytes = min(share, LARGEST_WRITE_BUFFER_BYTES)
        self.small_buffer_bytes = min(share, LARGEST_SMALL_BUFFER_BYTES)

    @property
    def used_bytes(self) -> int:
        """Memory used by cached blocks, index blocks, filters and memtables."""
        return self._cache.get_usage()

    def apply(self, options: Options, write_buffer_bytes: int) -> None:
        """Make a column family use this memory, with memtables of the given size."""
        options.set_write_buffer_manager(self._memtables)
        options.set_write_buffer_size(write_buffer_bytes)
        options.set_max_write_buffer_number(2)
        blocks = BlockBasedOptions()
        blocks.set_block_cache(self._cache)
        blocks.set_cache_index_and_filter_blocks(True)
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
        blocks.set_bloom_filter(10, False)  # most look-ups are for keys that are not in the store yet
        options.set_block_based_table_factory(blocks)
