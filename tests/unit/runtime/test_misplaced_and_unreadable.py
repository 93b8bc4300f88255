"""Goal: a key in the wrong partition and a state that cannot be decoded cost only their own changes.

Method: turns over a dictionary as the store, and stores on disk.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from aiokafka.partitioner import DefaultPartitioner

from streams.model.change import Change
from streams.model.fold import STATE_ONLY
from streams.runtime.partition.batch import RecordBatch
from streams.runtime.partition.hashing import partition_of
from streams.runtime.partition.turn import Turn
from streams.runtime.state.memory import StoreMemory
from streams.runtime.state.store import PartitionStore
from streams.runtime.testing import Consumed
from tests.support.fakes import TALLY_CODEC, Tally, TallyProcessor, add

BROKEN = b"\xc1 is never used in MessagePack"


class NoOwner:
    """Nobody takes the batch."""

    async def accept(self, batch: RecordBatch, fold: object) -> int:
        return 0


def changes(*keys: bytes) -> RecordBatch:
    batch = RecordBatch(
        "numbers", 2, 0, [Consumed("numbers", 2, n, key, b"1") for n, key in enumerate(keys)], NoOwner()
    )
    batch.changes = [Change(key, 1, deleted=False, position=(0, 1, n, 0)) for n, key in enumerate(keys)]
    return batch


# -- keys in the wrong partition --------------------------------------------------------------------------------------


def test_a_key_hashes_as_with_kafkas_default_partitioner() -> None:
    keys = [os.urandom(size) for size in range(1, 200)]
    for count in (1, 4, 12, 96):
        numbers = list(range(count))
        assert [partition_of(key, count) for key in keys] == [DefaultPartitioner()(k, numbers, numbers) for k in keys]


def test_a_new_key_that_belongs_elsewhere_is_a_dead_letter() -> None:
    stored = {b"known": TALLY_CODEC.encode(Tally())}
    turn = Turn(stored.get, TALLY_CODEC, TallyProcessor().dead_letter, lambda key: f"{key!r} is elsewhere")
    turn.fold([(changes(b"known", b"new"), add)])
    assert list(turn.changed) == [b"known"]
    [letter] = turn.rejected
    assert (letter.key, turn.counts["rejected"]) == (b"new", 1)


# -- states that cannot be decoded ------------------------------------------------------------------------------------


def test_a_change_of_a_state_that_cannot_be_decoded_is_a_dead_letter_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turn = Turn({b"broken": BROKEN}.get, TALLY_CODEC, TallyProcessor().dead_letter)
    turn.fold([(changes(b"a", b"broken", b"b"), add)])
    assert list(turn.changed) == [b"a", b"b"]
    [letter] = turn.rejected
    assert (letter.key, turn.counts["failed"]) == (b"broken", 1)
    assert "b'broken' in partition 2" in caplog.text


def test_a_timer_of_a_state_that_cannot_be_decoded_is_passed_over() -> None:
    turn = Turn({b"broken": BROKEN}.get, TALLY_CODEC, TallyProcessor().dead_letter)
    turn.fire([(b"broken", lambda state: STATE_ONLY), (b"good", lambda state: STATE_ONLY)])
    assert list(turn.changed) == [b"good"]


def test_a_store_with_a_state_that_cannot_be_decoded_is_restored_and_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = PartitionStore(tmp_path / "2", StoreMemory(1 << 20))
    store.begin(b"x" * 16)
    entries = [(b"broken", BROKEN), (b"good", TALLY_CODEC.encode(Tally()))]
    store.restore(entries, 7, TALLY_CODEC)
    asyncio.run(store.complete_timers(TALLY_CODEC))
    store.restore([*entries, (b"broken", None)], 9, TALLY_CODEC)
    assert [key for key, _ in store.items()] == [b"good"]
    assert "b'broken'" in caplog.text
    store.close()
