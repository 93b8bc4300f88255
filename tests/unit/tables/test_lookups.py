"""Goal: look-ups and the place they stand at are written together, by nobody who expects another place.

Method: `LookupCommitter` over a Redis in memory that does what the scripts say (they run on a real one in the
integration tests); the worker around it is reduced to what a committer asks of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import aiokafka
import msgspec
import pytest
from aiokafka.errors import CommitFailedError, KafkaConnectionError, KafkaError
from faust.types import TP

from streams.adapters.redis import CALL_TIMEOUT_S, RedisAwayError, Script
from streams.model.errors import SinkAwayError
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord
from streams.topics import DEAD_LETTERS
from tables.lookups import WRITE, LookupCommitter, LookupSink
from tables.redis_offsets import KEEP, READ

TOPIC: Final = "shop.customers"
LIVENESS_S: Final = 30.0
PLACE: Final = ("lookups_offsets:shop.lookups", f"{TOPIC}/3")
ADA = OutputRecord("customer", b"7", b'{"name":"Ada"}')
LETTER = OutputRecord(DEAD_LETTERS, b"7", b"{", (("reason", b"no JSON"),))


class MemoryRedis:
    """A client of a Redis that keeps texts and hashes in dictionaries.

    Attributes:
        away: raised by the next calls, one each; with True the script has run before.
        is_full: whether writes are refused.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.places: dict[tuple[str, str], str] = {}
        self.away: list[bool] = []
        self.is_full = False
        self.is_closed = False

    async def call(self, script: Script, argument: bytes, *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        has_run = self.away.pop(0) if self.away else None
        answer = None if has_run is False else self._run(script, msgspec.msgpack.decode(argument))
        if has_run is not None:
            raise RedisAwayError("no answer")
        return answer

    def _run(self, script: Script, argument: list[Any]) -> Any:
        place = (argument[0], argument[1])
        if script is READ:
            return self.places[place].encode() if place in self.places else None
        if script is not READ and self.is_full:
            raise RedisAwayError("OOM command not allowed when used memory > 'maxmemory'")
        if script is KEEP:
            self.places[place] = argument[2]
            return None
        assert script is WRITE
        expected, next_offset, written, deleted = argument[2:]
        if self.places.get(place, "") != expected:
            return 0
        self.values |= written
        for key in deleted:
            self.values.pop(key, None)
        self.places[place] = next_offset
        return 1

    def wipe(self) -> None:
        self.values.clear()
        self.places.clear()

    async def close(self) -> None:
        self.is_closed = True


class Worker:
    """What a sink asks of its application. `refusal` is raised when the group is told of an offset."""

    def __init__(self) -> None:
        self.conf = self
        self.id = "shop.lookups"
        self.kafka_client = {"bootstrap_servers": "127.0.0.1:1"}
        self.output_compression = None
        self.partition_supervisor = self
        self.group_offsets: dict[TP, int] = {}
        self.refusal: KafkaError | None = None

    async def commit_group_offsets(self, offsets: Mapping[TP, int]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.group_offsets.update(offsets)


class Producer:
    """Stands in for aiokafka's. `failing_starts` fail, one each; answers come once `answers` is set."""

    made: list[Producer]
    failing_starts = 0
    answers: asyncio.Event

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.sent: list[tuple[Any, ...]] = []
        self.is_stopped = False
        Producer.made.append(self)

    async def start(self) -> None:
        await asyncio.sleep(0)
        if Producer.failing_starts:
            Producer.failing_starts -= 1
            raise KafkaConnectionError("nobody there")

    async def send(self, topic: str, value: bytes, *, key: bytes, headers: list[Any]) -> asyncio.Task[Any]:
        self.sent.append((topic, key, value, headers))
        return asyncio.create_task(Producer.answers.wait())

    async def stop(self) -> None:
        self.is_stopped = True


@pytest.fixture
def redis() -> MemoryRedis:
    return MemoryRedis()


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def sink(redis: MemoryRedis, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> LookupSink:
    Producer.made, Producer.failing_starts, Producer.answers = [], 0, asyncio.Event()
    Producer.answers.set()
    monkeypatch.setattr(aiokafka, "AIOKafkaProducer", Producer)
    return LookupSink(redis, cast(TransactionalApp, worker))


async def opened(sink: LookupSink) -> tuple[LookupCommitter, int | None]:
    """A committer of partition 3, and where it says to go on."""
    committer = sink.committers(TOPIC)(3)
    await committer.open()
    committed = await committer.committed()
    assert committed.keys() == {TOPIC}
    return committer, committed[TOPIC]


async def commit(committer: LookupCommitter, next_offset: int, *outputs: OutputRecord) -> None:
    assert await committer.commit(outputs, {TOPIC: next_offset}) == {}


# -- place ------------------------------------------------------------------------------------------------------------


async def test_the_first_task_begins_at_the_beginning(sink: LookupSink, redis: MemoryRedis) -> None:
    committer, start = await opened(sink)
    assert start is None
    await committer.check()
    await commit(committer, 5, ADA, OutputRecord("payment_method", b"a:b", b"{}"))
    assert redis.values == {"customer:7": '{"name":"Ada"}', "payment_method:a:b": "{}"}
    assert redis.places == {PLACE: "5"}


async def test_the_next_opening_goes_on_where_the_last_one_ended(sink: LookupSink, redis: MemoryRedis) -> None:
    first, _ = await opened(sink)
    await commit(first, 5, ADA)
    await commit(first, 9, OutputRecord("customer", b"7", None))
    second, start = await opened(sink)
    assert (start, redis.values) == (9, {})
    await second.check()
    await commit(second, 10, ADA)
    assert redis.places == {PLACE: "10"}


async def test_whoever_slept_while_another_went_on_is_refused_and_writes_nothing(
    sink: LookupSink, redis: MemoryRedis, worker: Worker
) -> None:
    sleeper, _ = await opened(sink)
    await commit(sleeper, 5, ADA)
    other, _ = await opened(sink)
    await commit(other, 9, OutputRecord("customer", b"7", b'{"name":"Bob"}'))
    with pytest.raises(SinkAwayError, match=r"shop\.customers/3 .*expected 5"):
        await commit(sleeper, 7, ADA)
    with pytest.raises(SinkAwayError):
        await sleeper.check()
    assert (redis.values, redis.places) == ({"customer:7": '{"name":"Bob"}'}, {PLACE: "9"})
    assert worker.group_offsets == {TP(TOPIC, 3): 9}
    await other.check()


async def test_of_two_that_begin_at_the_beginning_one_is_refused(sink: LookupSink) -> None:
    (first, _), (second, _) = await opened(sink), await opened(sink)
    await commit(first, 5, ADA)
    with pytest.raises(SinkAwayError, match="expected none"):
        await commit(second, 5, ADA)


async def test_a_redis_that_lost_its_data_is_noticed_without_a_change_and_filled_again(
    sink: LookupSink, redis: MemoryRedis
) -> None:
    committer, _ = await opened(sink)
    await commit(committer, 5, ADA)
    await committer.check()
    redis.wipe()
    with pytest.raises(SinkAwayError):
        await committer.check()
    with pytest.raises(SinkAwayError):
        await commit(committer, 6, ADA)
    assert redis.values == {}
    assert (await opened(sink))[1] is None


async def test_partitions_and_applications_have_places_of_their_own(
    sink: LookupSink, redis: MemoryRedis, worker: Worker
) -> None:
    first, _ = await opened(sink)
    await commit(first, 5, ADA)
    assert await sink.committers(TOPIC)(2).committed() == {TOPIC: None}
    assert await sink.committers("shop.others")(3).committed() == {"shop.others": None}
    worker.id = "others.lookups"
    assert (await opened(sink))[1] is None


# -- away -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_run", [False, True], ids=["before the script", "after the script, answer lost"])
async def test_an_answer_that_was_lost_is_found_out_by_the_next_opening(
    sink: LookupSink, redis: MemoryRedis, has_run: bool
) -> None:
    committer, _ = await opened(sink)
    redis.away = [has_run]
    with pytest.raises(SinkAwayError, match="no answer"):
        await commit(committer, 5, ADA)
    assert (await opened(sink))[1] == (5 if has_run else None)


async def test_a_redis_that_is_away_is_waited_for_by_opening_again(sink: LookupSink, redis: MemoryRedis) -> None:
    committer, _ = await opened(sink)
    redis.away = [False, False]
    with pytest.raises(SinkAwayError):
        await committer.check()
    with pytest.raises(SinkAwayError):
        await opened(sink)
    await committer.check()


# -- the group and the dead letters -----------------------------------------------------------------------------------


async def test_the_group_is_told_and_its_refusal_disturbs_nothing(
    sink: LookupSink, redis: MemoryRedis, worker: Worker
) -> None:
    committer, _ = await opened(sink)
    worker.refusal = CommitFailedError("a rebalance")
    await commit(committer, 5, ADA)
    assert (worker.group_offsets, redis.places) == ({}, {PLACE: "5"})
    worker.refusal = None
    await commit(committer, 6)
    assert worker.group_offsets == {TP(TOPIC, 3): 6}


async def test_dead_letters_are_in_kafka_before_the_place_moves_on(sink: LookupSink, redis: MemoryRedis) -> None:
    committer, _ = await opened(sink)
    Producer.failing_starts = 1
    with pytest.raises(KafkaConnectionError):
        await commit(committer, 5, ADA, LETTER)
    assert (redis.values, PLACE in redis.places) == ({}, False)
    await commit(committer, 5, ADA, LETTER)
    assert redis.values == {"customer:7": '{"name":"Ada"}'}
    failed, producer = Producer.made
    assert failed.is_stopped
    assert producer.sent == [(DEAD_LETTERS, b"7", b"{", [("reason", b"no JSON")])]
    assert producer.options["enable_idempotence"] is True


async def test_a_full_redis_gets_a_letter_once_however_often_it_is_tried(sink: LookupSink, redis: MemoryRedis) -> None:
    Producer.answers.set()
    redis.is_full = True
    for _ in range(3):
        committer, _ = await opened(sink)
        with pytest.raises(SinkAwayError):
            await committer.commit([LETTER], {TOPIC: 5})
    assert Producer.made == []
    redis.is_full = False
    await committer.commit([LETTER], {TOPIC: 5})
    assert len(Producer.made[0].sent) == 1


async def test_a_turns_dead_letters_are_sent_at_once_and_all_awaited(sink: LookupSink, redis: MemoryRedis) -> None:
    committer, _ = await opened(sink)
    Producer.answers.clear()
    task = asyncio.create_task(commit(committer, 5, *[LETTER] * 1_000))
    async with asyncio.timeout(LIVENESS_S):
        while not Producer.made or len(Producer.made[0].sent) < 1_000:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.005)
    assert PLACE not in redis.places
    Producer.answers.set()
    await asyncio.wait_for(task, LIVENESS_S)
    assert redis.places[PLACE] == "5"


async def test_partitions_share_one_producer_which_ends_with_the_sink(sink: LookupSink, redis: MemoryRedis) -> None:
    letters: list[Sequence[OutputRecord]] = [[LETTER], [LETTER], [LETTER]]
    await asyncio.gather(*[sink.dead_letters.keep(each) for each in letters])
    [producer] = Producer.made
    assert len(producer.sent) == 3
    await sink.on_shutdown()
    assert producer.is_stopped
    assert redis.is_closed


async def test_without_dead_letters_there_is_no_producer(sink: LookupSink, redis: MemoryRedis) -> None:
    committer, _ = await opened(sink)
    await commit(committer, 5, ADA)
    await committer.close()
    await sink.on_shutdown()
    assert (Producer.made, redis.is_closed) == ([], True)


async def test_the_topics_id_is_kept_beside_the_offset_and_lost_with_it(sink: LookupSink, redis: MemoryRedis) -> None:
    committer, _ = await opened(sink)
    assert await committer.source_ids() == {}
    await committer.keep_source_ids({TOPIC: "a" * 32})
    await commit(committer, 5, ADA)
    again, start = await opened(sink)
    assert (start, await again.source_ids()) == (5, {TOPIC: "a" * 32})
    redis.wipe()
    assert await again.source_ids() == {}
