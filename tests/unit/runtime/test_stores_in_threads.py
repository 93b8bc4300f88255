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

from streams import orders as application
from streams.runtime.faust.table import NotHere, PartitionedStore
from streams.runtime.partition.standby import Standby
from streams.runtime.state.store import PartitionStore
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


async def test_the_event_loop_goes_on_while_a_store_closes(stores: PartitionedStore, gate: Gate) -> None:
    await stores.open_partition(0)
    gate.hold("close")
    closing = asyncio.create_task(stores.close_partition(0))
    await until(lambda: gate.entered == 1)
    with pytest.raises(AssertionError, match="already open"):
        await stores.open_partition(0)
    gate.open()
    await closing
    await stores.open_partition(0)
    await stores.close_partition(0)


async def test_views_cannot_read_a_store_that_is_closing(stores: PartitionedStore, gate: Gate) -> None:
    store = await stores.open_partition(0)
    store.write([(b"a", b"1")], 1)
    stores.set_readable(0)
    assert stores._get(b"a") == b"1"
    gate.hold("close")
    closing = asyncio.create_task(stores.close_partition(0))
    await until(lambda: gate.entered == 1)
    with pytest.raises(NotHere):
        stores._get(b"a")
    assert list(stores._iteritems()) == []
    gate.open()
    await closing


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
