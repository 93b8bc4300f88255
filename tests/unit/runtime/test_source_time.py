"""Goal: one change with a wrong time does not make a partition believe that years have passed.

Method: turns over records with Kafka's timestamp.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.order_timers import OrderTimers
from streams.model.change import LATEST_MS, Change
from streams.model.fold import UNCHANGED
from streams.model.order import OrderColumns, OrderState, ProductLine, fold_order
from streams.model.source_time import MOST_AHEAD_MS
from streams.runtime.partition.batch import RecordBatch
from streams.runtime.partition.turn import Turn
from streams.runtime.partition.view import StoredPartitionView
from streams.runtime.state.memory import StoreMemory
from streams.runtime.state.store import PartitionStore
from streams.runtime.testing import Consumed
from tables.order_state import FORGETTING_CODEC
from tests.support.fakes import TALLY_CODEC, TallyProcessor, add

NOW_MS = 1_800_000_000_000


class NoOwner:
    """Nobody takes the batch."""

    async def accept(self, batch: RecordBatch, fold: object) -> int:
        return 0


def newest_of(at_ms: int, record_ms: int) -> int:
    batch = RecordBatch("numbers", 0, 0, [Consumed("numbers", 0, 0, b"k", b"1", record_ms)], NoOwner())
    batch.changes = [Change(b"k", 1, deleted=False, position=(0, 1, 1, 0), at_ms=at_ms)]
    turn = Turn(lambda key: None, TALLY_CODEC, TallyProcessor().dead_letter)
    turn.fold([(batch, add)])
    return turn.newest_ms


@pytest.mark.parametrize("at_ms", [NOW_MS - 5, NOW_MS, NOW_MS + MOST_AHEAD_MS])
def test_a_credible_time_moves_the_partitions_time(at_ms: int) -> None:
    assert newest_of(at_ms, NOW_MS) == at_ms


def test_a_time_far_ahead_of_kafkas_is_passed_over() -> None:
    assert newest_of(NOW_MS + MOST_AHEAD_MS + 1, NOW_MS) == 0


@pytest.mark.parametrize("record_ms", [0, -1])
def test_without_kafkas_time_the_sources_is_passed_over(record_ms: int) -> None:
    assert newest_of(NOW_MS, record_ms) == 0


# -- states and stores ------------------------------------------------------------------------------------------------


def order(id_: str, num_products: int, at_ms: int) -> Change[OrderColumns]:
    row = OrderColumns(id_, 1, 2, None, num_products, datetime(2026, 1, 2, tzinfo=UTC))
    return Change(id_.encode(), row, deleted=False, position=(0, 1, 1, 0), at_ms=at_ms)


def folded(*changes: tuple[Change[OrderColumns], int]) -> Turn:
    """Fold changes of orders that have the given Kafka timestamps."""
    records = [Consumed("orders", 0, n, change.key, b"", record_ms) for n, (change, record_ms) in enumerate(changes)]
    batch = RecordBatch("orders", 0, 0, records, NoOwner())
    batch.changes = [change for change, _ in changes]
    turn = Turn(lambda key: None, FORGETTING_CODEC, TallyProcessor().dead_letter)
    turn.fold([(batch, fold_order)])
    return turn


@pytest.mark.parametrize("at_ms", [LATEST_MS, NOW_MS + 2 * MOST_AHEAD_MS])
def test_a_state_never_keeps_a_time_that_is_not_credible(at_ms: int) -> None:
    turn = folded((order("good", 1, NOW_MS), NOW_MS), (order("bad", 1, at_ms), NOW_MS + 7))
    assert turn.states[b"bad"].first_seen_ms == turn.states[b"bad"].changed_ms == NOW_MS + 7
    assert turn.states[b"good"].first_seen_ms == turn.newest_ms == NOW_MS
    assert turn.counts["times_corrected"] == 1


def test_without_any_credible_time_a_states_time_is_unknown() -> None:
    turn = folded((order("bad", 1, LATEST_MS), 0))
    assert turn.states[b"bad"].first_seen_ms == turn.states[b"bad"].changed_ms == 0


def restored(folder: Path, states: dict[bytes, OrderState], newest_ms: int = 0) -> PartitionStore:
    """Return a store that was restored from a changelog of these states; `newest_ms` is what it has stored before."""
    store = PartitionStore(folder, StoreMemory(1 << 20))
    store.begin(b"x" * 16)
    store.newest_ms = newest_ms
    store.restore([(key, FORGETTING_CODEC.encode(state)) for key, state in states.items()], 7, FORGETTING_CODEC)
    asyncio.run(store.complete_timers(FORGETTING_CODEC))
    return store


WAITING_SINCE_MS = 1_750_000_000_000
LINES = {1: ProductLine(1, False, (0, 1, 1, 0))}
POISONED = {
    b"good": OrderState(lines=LINES, first_seen_ms=WAITING_SINCE_MS),
    b"bad": OrderState(lines=LINES, first_seen_ms=LATEST_MS),
}


def test_a_restored_partition_does_not_take_its_time_from_a_state_that_an_earlier_version_poisoned(
    tmp_path: Path,
) -> None:
    store = restored(tmp_path / "0", POISONED)
    assert store.newest_ms == WAITING_SINCE_MS
    store.close()


def test_a_poisoned_time_of_a_partition_is_lowered_at_the_next_opening(tmp_path: Path) -> None:
    restored(tmp_path / "0", POISONED, newest_ms=LATEST_MS).close()
    store = PartitionStore(tmp_path / "0", StoreMemory(1 << 20))
    asyncio.run(store.complete_timers(FORGETTING_CODEC))
    assert store.newest_ms == WAITING_SINCE_MS
    view = StoredPartitionView(0, store)
    timers = OrderTimers(incomplete_after_s=3_600, retention_s=7 * 86_400)
    visited = [callback(FORGETTING_CODEC.readable(key, store.get(key))) for key, callback in timers.due_timers(view)]
    assert [outcome for outcome in visited if outcome is not UNCHANGED] == []
    store.close()
