"""Goal: a restoration leaves the event loop to others, waits for a head that was never committed, and names a disk that
takes no store at all.

Method: the real restoration and store on a changelog in memory. An aborted record is one that the log does not show.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from streams.runtime.partition.batch import OutputRecord
from streams.runtime.state import changelog as changelog_module
from streams.runtime.state import store as store_module
from streams.runtime.state.changelog import INCARNATION_KEY, Restoration, RestoreProgress
from streams.runtime.state.codec import StateCodec
from streams.runtime.state.memory import StoreMemory
from streams.runtime.state.store import PartitionStore, StoreWriteError
from tests.support.fakes import CHANGELOG, TALLY_CODEC, Log, LogConsumer, Tally

MEGABYTE = 1024 * 1024
LIVENESS_S = 20.0
WITHOUT_ENTRIES: StateCodec[Tally] = StateCodec(Tally, timers_version=b"nothing stands in it")


async def test_states_without_a_timer_do_not_keep_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "REBUILD_ENTRIES", 10)
    store = PartitionStore(tmp_path / "0", StoreMemory(MEGABYTE))
    store.write([(b"%d" % number, TALLY_CODEC.encode(Tally(number))) for number in range(100)], 1)
    others = 0

    async def be_another() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    another = asyncio.create_task(be_another())
    await store.complete_timers(WITHOUT_ENTRIES)
    another.cancel()
    assert others >= 9, "one turn for ten states"
    store.close()


async def test_a_standby_waits_while_the_head_of_its_changelog_was_aborted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    log.append([OutputRecord(CHANGELOG, INCARNATION_KEY, b"of an owner that was killed")], {})
    log.compacted.add(0)

    @contextlib.asynccontextmanager
    async def memory_reader(client: Any, changelog: TopicPartition) -> AsyncIterator[LogConsumer]:
        yield LogConsumer(log)

    monkeypatch.setattr(changelog_module, "_reader", memory_reader)
    monkeypatch.setattr(changelog_module, "FOLLOW_PAUSE_S", 0.001)
    store = PartitionStore(tmp_path / "0", StoreMemory(MEGABYTE))
    progress = RestoreProgress()
    following = asyncio.create_task(
        Restoration(
            store,
            TopicPartition(CHANGELOG, 0),
            TALLY_CODEC,
            changelog_delete_retention_s=86_400.0,
            progress=progress,
        ).follow({})
    )
    await asyncio.sleep(0.02)
    assert not following.done()
    state = TALLY_CODEC.encode(Tally(1))
    log.append([OutputRecord(CHANGELOG, INCARNATION_KEY, b"two"), OutputRecord(CHANGELOG, b"a", state)], {})
    async with asyncio.timeout(LIVENESS_S):
        while not progress.records:  # noqa: ASYNC110 - the store is seen from outside
            await asyncio.sleep(0.001)
    assert (store.incarnation, store.get(b"a")) == (b"two", state)
    following.cancel()
    await asyncio.wait({following})
    store.close()


def test_a_disk_that_takes_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreWriteError, match=f"cannot write to store {tmp_path}/file/0"):
        PartitionStore(tmp_path / "file" / "0", StoreMemory(MEGABYTE))
