"""Goal: stores open and close without holding up the event loop, and each has one owner whatever is cancelled.

Method: slow stores whose threads wait for the test; the test itself runs on the event loop, so it would never end if
the loop waited for them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import rocksdict

from streams import orders as application
from streams.runtime.faust.table import NotHere, PartitionedStore
from streams.runtime.partition.standby import Standby
from streams.runtime.state.store import PartitionStore, StoreWriteError
from streams.runtime.state.threads import OPENING, in_thread
from tests.support.async_waiting import LIVENESS_S, until
from tests.unit.runtime.partition_testbed import PartitionTestbed


class Gate:
    """Holds up threads in a method of `PartitionStore` until the test lets them through.

    Attributes:
        entered: number of calls that have begun, each in a thread of its own.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = 0
        self._monkeypatch = monkeypatch
        self._open = threading.Event()

    def hold(self, method: str) -> None:
        slow = getattr(PartitionStore, method)

        def held(*args: object) -> object:
            self.entered += 1
            assert self._open.wait(LIVENESS_S), "the event loop waits for the store"
            return slow(*args)

        self._monkeypatch.setattr(PartitionStore, method, held)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open()


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PartitionedStore:
    stores = PartitionedStore(application.state)
    monkeypatch.setattr(stores, "_folder", lambda: tmp_path)
    monkeypatch.setattr(stores, "partition_of", lambda key: 0)
    return stores


# -- the calls --------------------------------------------------------------------------------------------------------


async def test_a_cancelled_call_has_ended_before_its_caller_goes_on() -> None:
    may_end, ended = threading.Event(), []

    def call() -> None:
        may_end.wait(LIVENESS_S)
        ended.append(True)

    caller = asyncio.create_task(in_thread(OPENING, call))
    for _ in range(3):
        await asyncio.sleep(0.01)
        caller.cancel()
    assert not caller.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended == [True]


async def test_an_error_of_a_call_is_that_of_its_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(OPENING, lambda: 1 // 0)


# -- the stores of a table --------------------------------------------------------------------------------------------


async def test_the_event_loop_goes_on_while_a_store_opens(stores: PartitionedStore, gate: Gate) -> None:
    gate.hold("__init__")
    opening = asyncio.create_task(stores.open_partition(0))
    await until(lambda: gate.entered == 1)
    with pytest.raises(AssertionError, match="already open"):
        await stores.open_partition(0)
    gate.open()
    await opening
    await stores.close_partition(0)


async def test_the_next_owner_waits_while_a_store_closes_and_the_event_loop_does_not(
    stores: PartitionedStore, gate: Gate
) -> None:
    (await stores.open_partition(0)).write([(b"a", b"1")], 1)
    await stores.close_partition(0)
    gate.hold("close")
    closing = asyncio.create_task(stores.close_kept())
    await until(lambda: gate.entered == 1)
    opening = asyncio.create_task(stores.open_partition(0))
    await asyncio.sleep(0.01)
    assert not opening.done()
    gate.open()
    await closing
    assert (await opening).get(b"a") == b"1"
    await stores.close_partition(0)


async def test_views_cannot_read_a_store_that_nobody_uses(stores: PartitionedStore) -> None:
    store = await stores.open_partition(0)
    store.write([(b"a", b"1")], 1)
    stores.set_readable(0)
    assert stores._get(b"a") == b"1"
    await stores.close_partition(0)
    with pytest.raises(NotHere):
        stores._get(b"a")
    assert list(stores._iteritems()) == []


async def test_a_partition_that_stays_gets_its_store_as_if_it_had_been_closed(
    stores: PartitionedStore, gate: Gate
) -> None:
    before = await stores.open_partition(0)
    before.write([(b"a", b"1")], 7)
    before.settled_offset, before.newest_ms = 99, 99  # in memory only, as after a turn that was never written
    gate.hold("__init__")  # so that opening the files again would fail the test
    await stores.close_partition(0)
    await stores.close_kept(besides={0, 3})
    again = await stores.open_partition(0)
    assert again.get(b"a") == b"1"
    assert (again.changelog_offset, again.settled_offset, again.newest_ms) == (7, None, 0)
    await stores.close_partition(0)


async def test_stores_of_partitions_that_left_are_closed(stores: PartitionedStore, tmp_path: Path) -> None:
    for partition in range(3):
        await stores.open_partition(partition)
        await stores.close_partition(partition)
    await stores.close_kept(besides={1})
    for partition in (0, 2):
        PartitionStore(tmp_path / str(partition), stores._memory).close()  # raises if it is open elsewhere
    with pytest.raises(Exception, match=r"(?i)lock"):
        rocksdict.Rdict(str(tmp_path / "1"), access_type=rocksdict.AccessType.read_write())


async def test_a_store_that_refused_a_write_is_opened_again(
    stores: PartitionedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await stores.open_partition(0)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_db", None)
        with pytest.raises(StoreWriteError):
            store.write([(b"a", b"1")], 7)
    await stores.close_partition(0)
    again = await stores.open_partition(0)
    assert again is not store
    assert again.changelog_offset is None
    await stores.close_partition(0)


async def test_a_store_whose_opening_was_cancelled_can_be_closed_and_opened_again(
    stores: PartitionedStore, gate: Gate
) -> None:
    gate.hold("__init__")
    opening = asyncio.create_task(stores.open_partition(0))
    await until(lambda: gate.entered == 1)
    opening.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await stores.close_partition(0)
    (await stores.open_partition(0)).write([(b"a", b"1")], 1)
    await stores.close_partition(0)


async def test_a_store_that_did_not_open_can_be_opened_later(
    stores: PartitionedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(PartitionStore, "__init__", refuse)
        with pytest.raises(OSError, match="no disk"):
            await stores.open_partition(0)
    await stores.open_partition(0)
    await stores.close_partition(0)


def refuse(*args: object) -> None:
    raise OSError("no disk")


# -- partitions and standbys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["__init__", "begin", "close"])
async def test_a_partition_that_closes_while_its_store_is_busy_leaves_nothing_open(
    tmp_path: Path, gate: Gate, method: str
) -> None:
    testbed = PartitionTestbed(tmp_path, [4, 6])
    if method == "close":
        testbed.start()
        await testbed.processed()
        gate.hold(method)
    else:
        gate.hold(method)
        testbed.start()
        await until(lambda: gate.entered == 1)
    stopping = asyncio.create_task(testbed.partition.close(0.01))
    await until(lambda: gate.entered == 1)
    await asyncio.sleep(0.05)
    assert not stopping.done(), "the next owner in this process must find the store closed"
    gate.open()
    await stopping
    assert testbed.host.committers[-1].closed
    assert testbed.crashed == []
    await testbed.stop()
    testbed.partition = testbed.new_partition()
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    assert testbed.published() == [b"10"]


async def test_a_standby_that_closes_while_its_store_opens_leaves_nothing_open(tmp_path: Path, gate: Gate) -> None:
    testbed = PartitionTestbed(tmp_path, [])
    gate.hold("__init__")
    standby = Standby(0, pipeline=testbed.pipeline, follow=never, stats=testbed.stats)
    standby.start(testbed.crashed.append)
    await until(lambda: gate.entered == 1)
    closing = asyncio.create_task(standby.close())
    await asyncio.sleep(0.01)
    gate.open()
    await closing
    await testbed.table.open_partition(0)
    await testbed.table.close_partition(0)


async def never(*args: object) -> None:
    await asyncio.Event().wait()
