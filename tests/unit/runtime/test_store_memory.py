"""Goal: the stores of a worker share one limit of memory, however many there are.

Method: real stores that are written far beyond the limit; `used_bytes` is what RocksDB itself accounts for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from streams.runtime.state.memory import LARGEST_WRITE_BUFFER_BYTES, SMALLEST_WRITE_BUFFER_BYTES, StoreMemory
from streams.runtime.state.store import PartitionStore
from tests.support.async_waiting import until

MEGABYTE = 1024 * 1024
LIMIT_BYTES, STORES = 16 * MEGABYTE, 16
STATES, STATE_BYTES = 20_000, 100
TOLERANCE = 1.25


@pytest.fixture
def memory() -> StoreMemory:
    return StoreMemory(LIMIT_BYTES, stores=STORES)


@pytest.fixture
def stores(memory: StoreMemory, tmp_path: Path) -> Iterator[list[PartitionStore]]:
    stores = [PartitionStore(tmp_path / str(number), memory) for number in range(STORES)]
    yield stores
    for store in stores:
        store.close()


def fill(store: PartitionStore, random: Random) -> bytes:
    """Write 2 MB in several turns; return a key that was written."""
    keys = [random.randbytes(16) for _ in range(STATES)]
    for begin in range(0, STATES, STATES // 4):
        entries = [(key, random.randbytes(STATE_BYTES)) for key in keys[begin : begin + STATES // 4]]
        store.write(entries, begin)
    return keys[0]


async def test_stores_that_are_written_one_after_the_other_keep_to_the_limit(
    memory: StoreMemory, stores: list[PartitionStore]
) -> None:
    random = Random(1)  # noqa: S311 - test data
    keys = [fill(store, random) for store in stores]  # RocksDB never flushes the first ones, which are idle now
    await until(lambda: memory.used_bytes <= TOLERANCE * LIMIT_BYTES)
    for store, key in zip(stores, keys, strict=True):
        assert len(store.get(key) or b"") == STATE_BYTES
    assert 0 < memory.used_bytes <= TOLERANCE * LIMIT_BYTES


def test_memtables_are_as_large_as_before_if_there_are_few_stores() -> None:
    assert StoreMemory(128 * MEGABYTE, stores=4).write_buffer_bytes == LARGEST_WRITE_BUFFER_BYTES
    assert StoreMemory(128 * MEGABYTE, stores=64).write_buffer_bytes == MEGABYTE
    assert StoreMemory(MEGABYTE, stores=1_000).write_buffer_bytes == SMALLEST_WRITE_BUFFER_BYTES
