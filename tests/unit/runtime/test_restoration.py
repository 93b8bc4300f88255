"""Goal: after a restoration a store equals its changelog, whatever it held before and whatever compaction removed.

Method: the real restoration and store on a changelog in memory; the machine's clock is the test's. A standby's
restoration, which goes on, reads the same changelog through a consumer in the place of the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka.structs import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.runtime.partition.batch import OutputRecord
from streams.runtime.state import changelog as changelog_module
from streams.runtime.state import store as store_module
from streams.runtime.state.changelog import (
    INCARNATION_KEY,
    Admission,
    ChangelogDamagedError,
    Restoration,
    RestoreProgress,
)
from streams.runtime.state.memory import StoreMemory
from streams.runtime.state.store import UP_TO_DATE_INTERVAL_S, PartitionStore
from tests.support.async_waiting import until
from tests.support.fakes import CHANGELOG, TALLY_CODEC, Log, LogConsumer, Tally

DAY_S = 86_400.0


class Clock:
    """Stands in for the module `time` of the store."""

    def __init__(self) -> None:
        self.now_s = 1_000_000_000.5

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(store_module, "time", clock)
    return clock


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[PartitionStore]:
    store = PartitionStore(tmp_path / "0", StoreMemory(1024 * 1024))
    yield store
    store.close()


def record(key: bytes, total: int | None) -> OutputRecord:
    return OutputRecord(CHANGELOG, key, None if total is None else TALLY_CODEC.encode(Tally(total)))


def log_of(*records: OutputRecord, incarnation: bytes = b"one") -> Log:
    """A log whose changelog begins with its incarnation."""
    log = Log()
    log.append([OutputRecord(CHANGELOG, INCARNATION_KEY, incarnation), *records], {})
    return log


def restoration(
    store: PartitionStore,
    log: Log,
    progress: RestoreProgress,
    *,
    retention_s: float = DAY_S,
    admitted: Admission = contextlib.nullcontext,
) -> Restoration:
    async def write_first(incarnation: bytes) -> None:
        log.append([OutputRecord(CHANGELOG, INCARNATION_KEY, incarnation)], {})

    return Restoration(
        store,
        TopicPartition(CHANGELOG, 0),
        TALLY_CODEC,
        changelog_delete_retention_s=retention_s,
        progress=progress,
        write_first=write_first,
        admitted=admitted,
    )


async def restore(store: PartitionStore, log: Log, *, retention_s: float = DAY_S) -> RestoreProgress:
    progress = RestoreProgress()
    consumer: Any = LogConsumer(log)
    await restoration(store, log, progress, retention_s=retention_s)._restore(consumer)
    return progress


def totals(store: PartitionStore) -> dict[bytes, int]:
    return {key: TALLY_CODEC.decode(state).total for key, state in store.items()}


async def test_an_empty_changelog_begins_with_an_incarnation(store: PartitionStore) -> None:
    log = Log()
    await restore(store, log)
    [first] = log.topics[CHANGELOG]
    assert (first.key, first.value) == (INCARNATION_KEY, store.incarnation)


async def test_only_what_is_new_is_read(store: PartitionStore) -> None:
    log = log_of(record(b"a", 1))
    await restore(store, log)
    store.settled_offset = 1
    log.append([record(b"a", 2)], {})
    progress = await restore(store, log)
    assert (progress.records, progress.remaining, totals(store)) == (1, 0, {b"a": 2})


async def test_only_a_long_changelog_waits_for_its_turn(store: PartitionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changelog_module, "POLL_RECORDS", 3)
    seen: list[int] = []

    @contextlib.asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        seen.append(len(totals(store)))
        yield
        seen.append(len(totals(store)))

    log = log_of(record(b"a", 1))
    consumer: Any = LogConsumer(log)
    await restoration(store, log, RestoreProgress(), admitted=turn)._restore(consumer)
    assert seen == []
    store.settled_offset = 1
    log.append([record(key, 2) for key in (b"b", b"c", b"d", b"e")], {})
    await restoration(store, log, RestoreProgress(), admitted=turn)._restore(consumer)
    assert seen == [1, 5]


async def test_a_changelog_that_was_made_anew_empties_the_store(store: PartitionStore) -> None:
    await restore(store, log_of(record(b"a", 1)))
    await restore(store, log_of(record(b"b", 1), record(b"b", 2), incarnation=b"two"))
    assert (totals(store), store.incarnation) == ({b"b": 2}, b"two")


async def test_a_changelog_that_ends_before_the_store_empties_it(store: PartitionStore) -> None:
    await restore(store, log_of(record(b"a", 1), record(b"a", 2)))
    await restore(store, log_of(record(b"a", 1)))
    assert (totals(store), store.changelog_offset) == ({b"a": 1}, 1)


async def test_a_changelog_without_its_head_is_not_relied_on(store: PartitionStore) -> None:
    log = log_of(record(b"a", 1))
    log.compacted.add(0)
    with pytest.raises(ChangelogDamagedError, match=r"compacted only"):
        await restore(store, log)


# -- age --------------------------------------------------------------------------------------------------------------


async def deletion_was_compacted(store: PartitionStore) -> Log:
    """A store that holds a key whose deletion it did not see, and will find no more."""
    log = log_of(record(b"a", 1), record(b"b", 1))
    await restore(store, log)
    log.append([record(b"a", None), record(b"b", 2)], {})
    log.compacted |= {1, 2, 3}
    return log


async def test_a_store_that_was_not_kept_up_for_too_long_is_emptied(store: PartitionStore, clock: Clock) -> None:
    log = await deletion_was_compacted(store)
    clock.now_s += DAY_S
    await restore(store, log)
    assert totals(store) == {b"b": 2}, "what compaction has taken the deletion of must not live on"


async def test_a_younger_store_is_built_upon(store: PartitionStore, clock: Clock) -> None:
    log = log_of(record(b"a", 1), record(b"b", 1))
    await restore(store, log)
    store.settled_offset = 2
    clock.now_s += DAY_S - changelog_module.AGE_MARGIN_S - 60
    assert (await restore(store, log)).records == 0


async def test_a_store_is_not_emptied_again_right_after(store: PartitionStore, clock: Clock) -> None:
    log = await deletion_was_compacted(store)
    clock.now_s += DAY_S
    await restore(store, log)
    assert store.age_s < 60
    before = store.incarnation
    await restore(store, log)
    assert (totals(store), store.incarnation) == ({b"b": 2}, before)


def test_an_idle_store_stays_young_without_a_write_each_time(store: PartitionStore, clock: Clock) -> None:
    store.begin(b"one")
    store.write([(b"a", b"")], 1)
    for _ in range(100):
        clock.now_s += UP_TO_DATE_INTERVAL_S / 2
        store.note_up_to_date()
    assert store.age_s <= UP_TO_DATE_INTERVAL_S
    clock.now_s += 5_000
    assert store.age_s >= 5_000


def test_a_store_that_never_was_up_to_date_is_old(store: PartitionStore) -> None:
    assert store.age_s > 10 * 365 * DAY_S


def test_a_clock_that_goes_back_makes_no_negative_age(store: PartitionStore, clock: Clock) -> None:
    store.write([(b"a", b"")], 1)
    clock.now_s -= 5_000
    assert store.age_s == 0


def test_time_and_settling_are_kept_with_the_next_write(tmp_path: Path) -> None:
    for newest_ms, settled in [(7, 3), (9, 4)]:
        store = PartitionStore(tmp_path / "1", StoreMemory(1024 * 1024))
        store.newest_ms, store.settled_offset = newest_ms, settled
        store.write([(b"a", b"")], 5)
        store.newest_ms, store.settled_offset = 1_000, 1_000
        store.close()
        store = PartitionStore(tmp_path / "1", StoreMemory(1024 * 1024))
        assert (store.newest_ms, store.settled_offset) == (newest_ms, settled)
        store.close()


# -- a standby --------------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Callable[[Log], None]:
    """Lets restorations read a log in the place of Kafka."""

    def read(log: Log) -> None:
        @contextlib.asynccontextmanager
        async def memory_reader(client: Any, changelog: TopicPartition) -> AsyncIterator[LogConsumer]:
            yield LogConsumer(log)

        monkeypatch.setattr(changelog_module, "_reader", memory_reader)
        monkeypatch.setattr(changelog_module, "FOLLOW_PAUSE_S", 0.001)

    return read


async def test_a_standby_waits_for_the_first_owner_and_then_keeps_up(
    store: PartitionStore, reader: Callable[[Log], None]
) -> None:
    log, progress = Log(), RestoreProgress()
    reader(log)
    following = asyncio.create_task(restoration(store, log, progress, retention_s=DAY_S).follow({}))
    await asyncio.sleep(0.02)
    assert log.topics == {}, "a standby writes nothing"
    log.append([OutputRecord(CHANGELOG, INCARNATION_KEY, b"one"), record(b"a", 1)], {})
    await until(lambda: progress.records == 1 and totals(store) == {b"a": 1})
    log.append([record(b"b", 5), record(b"a", None)], {})
    await until(lambda: totals(store) == {b"b": 5})
    assert (store.timers.counts[1], progress.remaining, store.changelog_offset) == (1, 0, 3)
    following.cancel()
    await asyncio.wait({following})
    assert following.cancelled()


async def test_a_standby_stays_young_while_nothing_happens(
    store: PartitionStore, reader: Callable[[Log], None], clock: Clock
) -> None:
    log = log_of(record(b"a", 1))
    reader(log)
    progress = RestoreProgress()
    following = asyncio.create_task(restoration(store, log, progress, retention_s=DAY_S).follow({}))
    await until(lambda: progress.records == 1 and totals(store) == {b"a": 1})
    clock.now_s += 5_000
    await until(lambda: store.age_s < 60)
    following.cancel()
    await asyncio.wait({following})


# -- at random --------------------------------------------------------------------------------------------------------

changes = st.lists(
    st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.none() | st.integers(1, 50)), min_size=1, max_size=6
)


@settings(max_examples=max(20, settings().max_examples // 8))
@given(lives=st.lists(st.tuples(changes, st.none() | st.integers(0, 20)), min_size=1, max_size=5))
def test_a_store_equals_its_changelog_after_any_lives_of_others(
    tmp_path_factory: pytest.TempPathFactory, lives: list[tuple[list[tuple[bytes, int | None]], int | None]]
) -> None:
    log, expected = log_of(), cast(dict[bytes, int], {})
    path = tmp_path_factory.mktemp("store") / "0"
    for written, settled in lives:
        log.append([record(key, total) for key, total in written], {})
        for key, total in written:
            expected.pop(key, None)
            expected |= {} if total is None else {key: total}
        store = PartitionStore(path, StoreMemory(1024 * 1024))
        asyncio.run(restore(store, log))
        assert totals(store) == expected
        assert store.changelog_offset == len(log.topics[CHANGELOG]) - 1
        assert [key for _, key in store.timers.entries(1)] == sorted(key for key in expected if expected[key] % 10)
        store.settled_offset = settled
        store.write([], len(log.topics[CHANGELOG]) - 1)
        store.close()
