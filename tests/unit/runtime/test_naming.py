"""Goal: who opens a partition reads its state when no shared transaction can still change it, and only then names one.

Method: the real functions and stores over transactions in memory; a changelog is a list of names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from streams.runtime.partition import shared_producer
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.naming import MOST_READINGS, NameChangedError, name_shared_id, read_when_over
from streams.runtime.partition.rounds import Rounds
from streams.runtime.partition.shared_ids import SHARED_ID, SharedIds
from streams.runtime.partition.view import StoredPartitionView
from streams.runtime.state.changelog import SOURCE_KEY
from streams.runtime.state.memory import StoreMemory
from streams.runtime.state.store import PartitionStore
from tests.support.async_waiting import until
from tests.support.fakes import CHANGELOG, Log, MemoryCommitter
from tests.support.transactions_in_memory import MemoryKafka
from tests.unit.runtime.partition_testbed import PartitionTestbed


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PartitionStore]:
    store = PartitionStore(tmp_path / "store", StoreMemory(1024 * 1024))
    yield store
    store.close()


def rounds_of(kafka: MemoryKafka, *, is_active: bool = True) -> Rounds:
    return Rounds(lambda: "group", SharedIds(kafka.producer, lambda: "app"), is_active=is_active)


class Changelog:
    """A changelog whose readings find the given names, one after the other; notes what was over before each."""

    def __init__(self, kafka: MemoryKafka, store: PartitionStore, names: Sequence[str | None]) -> None:
        self.over: list[list[str]] = []
        self._kafka, self._store, self._names = kafka, store, [*names]

    async def read(self) -> int:
        self.over.append(list(self._kafka.initialised))
        name = self._names.pop(0)
        if name is not None:
            self._store.keep_source_ids({SHARED_ID: name})
        return len(self.over)


@pytest.mark.parametrize("is_active", [True, False])
async def test_an_id_that_only_the_changelog_names_is_ended_before_the_last_reading(
    store: PartitionStore, is_active: bool
) -> None:
    kafka = MemoryKafka()
    changelog = Changelog(kafka, store, ["a", "a"])
    found = await read_when_over(store, changelog.read, rounds_of(kafka, is_active=is_active))
    assert (found, changelog.over) == (2, [[], ["a"]])


async def test_an_id_that_the_store_names_is_ended_before_the_only_reading(store: PartitionStore) -> None:
    kafka = MemoryKafka()
    store.keep_source_ids({SHARED_ID: "a"})
    changelog = Changelog(kafka, store, ["a"])
    assert await read_when_over(store, changelog.read, rounds_of(kafka)) == 1
    assert changelog.over == [["a"]]


async def test_an_old_store_does_not_hide_a_newer_name(store: PartitionStore) -> None:
    kafka = MemoryKafka()
    store.keep_source_ids({SHARED_ID: "a"})
    changelog = Changelog(kafka, store, ["b", "b"])
    await read_when_over(store, changelog.read, rounds_of(kafka))
    assert changelog.over == [["a"], ["a", "b"]]


async def test_an_id_that_was_ended_while_the_changelog_was_read_is_not_enough(store: PartitionStore) -> None:
    kafka = MemoryKafka()
    rounds, changelog = rounds_of(kafka), Changelog(kafka, store, ["a", "a"])

    async def read() -> int:
        found = await changelog.read()
        await rounds.end("a")  # another partition that is being opened
        return found

    assert await read_when_over(store, read, rounds) == 2
    assert kafka.initialised == ["a"]


async def test_a_changelog_that_names_others_again_and_again_is_an_error(store: PartitionStore) -> None:
    kafka = MemoryKafka()
    changelog = Changelog(kafka, store, [str(number) for number in range(MOST_READINGS)])
    with pytest.raises(NameChangedError):
        await read_when_over(store, changelog.read, rounds_of(kafka))


async def test_without_a_name_the_changelog_is_read_once(store: PartitionStore) -> None:
    kafka = MemoryKafka()
    changelog = Changelog(kafka, store, [None])
    assert await read_when_over(store, changelog.read, rounds_of(kafka)) == 1
    assert kafka.initialised == []


# -- naming ------------------------------------------------------------------------------------------------------------


class NotingCommitter(MemoryCommitter):
    """A committer that notes what the partition had named when each of its commits began."""

    def __init__(self, log: Log, rounds: Rounds) -> None:
        super().__init__(log, [], ["numbers"])
        self.takes: list[bool] = []
        self._rounds = rounds

    async def commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        self.takes.append(self._rounds._takes(0))
        return await super().commit(outputs, offsets)


async def test_a_partition_takes_part_once_its_own_transaction_has_named_the_id(
    tmp_path: Path, store: PartitionStore
) -> None:
    kafka, testbed = MemoryKafka(), PartitionTestbed(tmp_path / "testbed", [])
    rounds = rounds_of(kafka)
    pipeline = testbed.pipeline.__class__(**{**vars(testbed.pipeline), "rounds": rounds})
    committer, view = NotingCommitter(testbed.log, rounds), StoredPartitionView(0, store)
    await committer.open()
    await until(lambda: rounds.name_for(0) is not None)
    name = rounds.name_for(0)
    assert await name_shared_id(committer, view, pipeline, 1.0)
    assert committer.takes == [False]
    assert rounds._takes(0)
    [record] = testbed.log.topics[CHANGELOG]
    assert record.key == SOURCE_KEY + SHARED_ID.encode()
    assert record.headers == ((SHARED_ID, str(name).encode()),)
    assert store.source_ids == {SHARED_ID: name}
    assert not await name_shared_id(committer, view, pipeline, 1.0)
    await rounds.close()


async def test_a_partition_that_could_not_name_the_id_takes_no_part(
    tmp_path: Path, store: PartitionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, testbed = MemoryKafka(), PartitionTestbed(tmp_path / "testbed", [])
    rounds = rounds_of(kafka)
    pipeline = testbed.pipeline.__class__(**{**vars(testbed.pipeline), "rounds": rounds})
    committer = NotingCommitter(testbed.log, rounds)
    await committer.open()

    async def lost(*_: object) -> Mapping[str, int]:
        raise ConnectionResetError

    monkeypatch.setattr(committer, "commit", lost)
    await until(lambda: rounds.name_for(0) is not None)
    with pytest.raises(ConnectionResetError):
        await name_shared_id(committer, StoredPartitionView(0, store), pipeline, 1.0)
    assert not rounds._takes(0)
    assert SHARED_ID not in store.source_ids
    await rounds.close()


async def test_a_partition_without_the_setting_or_without_a_state_names_nothing(
    tmp_path: Path, store: PartitionStore
) -> None:
    testbed = PartitionTestbed(tmp_path / "testbed", [])
    committer = MemoryCommitter(testbed.log, [], ["numbers"])
    assert not await name_shared_id(committer, StoredPartitionView(0, store), testbed.pipeline, 1.0)
    assert not await name_shared_id(committer, None, testbed.pipeline, 1.0)


def test_the_pause_before_another_id_is_not_short() -> None:
    assert shared_producer.RENEWAL_PAUSE_S >= 1
