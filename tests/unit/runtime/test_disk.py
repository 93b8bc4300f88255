"""Goal: a disk that refuses to be written ends the worker with a name; nothing is lost or repeated by that.

Method: a limit on the size of this process's files stands for the full disk; the store is the real one, alone and in a
partition on a testbed.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from streams.runtime.partition.lifecycle import PartitionState
from streams.runtime.state.memory import StoreMemory
from streams.runtime.state.store import Entry, PartitionStore, StoreWriteError
from streams.runtime.state.timers import TimerChange
from tests.unit.runtime import partition_testbed
from tests.unit.runtime.partition_testbed import PartitionTestbed

MEGABYTE = 1024 * 1024


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes."""
    before, highest = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, highest))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, highest))


def test_a_store_that_cannot_be_written_says_so_and_keeps_what_it_had(tmp_path: Path) -> None:
    store = PartitionStore(tmp_path / "0", StoreMemory(MEGABYTE))
    store.write([(b"a", b"old"), (b"b", b"old")], 1, [(b"a", None, (1, 5))])
    with files_of_at_most(MEGABYTE), pytest.raises(StoreWriteError, match="cannot write to store"):
        store.write([(b"a", b"new" * MEGABYTE)], 2, [(b"a", (1, 5), (2, 5))])
    assert (store.get(b"a"), store.changelog_offset, store.timers.counts) == (b"old", 1, {1: 1})
    store.close()
    store = PartitionStore(tmp_path / "0", StoreMemory(MEGABYTE))
    assert (dict(store.items()), store.changelog_offset) == ({b"a": b"old", b"b": b"old"}, 1)
    assert list(store.timers.entries(1)) == [(5, b"a")]
    store.close()


class FullStore(PartitionStore):
    """A store on a full disk, from its second write on."""

    writes = 0

    def write(self, entries: Iterable[Entry], changelog_offset: int, moves: Sequence[TimerChange] = ()) -> None:
        FullStore.writes += 1
        if FullStore.writes == 1:
            return super().write(entries, changelog_offset, moves)
        with files_of_at_most(MEGABYTE):
            return super().write([*entries, (b"filler", b"x" * 3 * MEGABYTE)], changelog_offset, moves)


async def test_a_full_disk_ends_the_worker_by_name_and_another_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    testbed = PartitionTestbed(tmp_path, [4, 6, 5, 3, 2])
    testbed.host.turn_max_records = 2
    monkeypatch.setattr(FullStore, "writes", 0)
    with monkeypatch.context() as patch:
        patch.setattr(partition_testbed, "PartitionStore", FullStore)
        testbed.start()
        await testbed.until(lambda: bool(testbed.crashed))
        await testbed.stop()
    [error] = testbed.crashed
    assert isinstance(error, StoreWriteError)
    assert "cannot write to store" in str(error)
    assert testbed.partition.state is PartitionState.CLOSED
    assert testbed.log.offsets == {"numbers": 4}, "its last transaction was visible before the disk refused"
    testbed.table.move(tmp_path / "another worker's")
    testbed.partition = testbed.new_partition()
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    assert testbed.published() == [b"10", b"20"]
    assert testbed.table.tally().total == 20
