"""Goal: lag is right while nothing is fetched, too, and a stranger's open transaction does not hold orders up unseen.

Method: looks whose offsets are given, at given times; a consumer and partitions that say what a test says. A real
Kafka is asked in `tests/streams`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import TopicPartition
from faust.types import TP

from streams.runtime.faust import source_offsets
from streams.runtime.faust.source_offsets import HELD_UP_S, SourceLag, SourceOffsets
from streams.runtime.partition.batch import RecordBatch
from streams.runtime.partition.queue import BatchQueue
from streams.runtime.web.dashboard.board import ANSWER_S
from tests.support.async_waiting import until

ORDERS = TP("orders", 3)
IDLE: dict[str, Any] = {"uncommitted": 0, "held_up_s": 0.0}


class Consumer:
    """The position in each open partition, and the end that its last fetch has returned."""

    def __init__(self) -> None:
        self.places: dict[TP, tuple[int, int | None]] = {}
        self.is_stuck = False

    async def positions(self, tps: Sequence[TP]) -> Mapping[TP, tuple[int, int | None]]:
        if self.is_stuck:
            await asyncio.Event().wait()
        return {tp: place for tp, place in self.places.items() if tp in tps}


def batch(records: int, *, from_offset: int = 0, at_ms: int = 0) -> RecordBatch:
    """A batch of the topic `orders` whose records were all written at the same time."""
    made = SimpleNamespace(timestamp=at_ms, key=b"", value=b"")
    found = [SimpleNamespace(**vars(made), offset=from_offset + number) for number in range(records)]
    return RecordBatch("orders", 3, from_offset, cast(Any, found), cast(Any, None))


def fold(state: Any, change: Any) -> Any:
    raise AssertionError("nothing is folded here")


class Worker:
    """A worker with partition 3 of the topic `orders`."""

    def __init__(self) -> None:
        self.consumer = Consumer()
        self.task: Any = SimpleNamespace(is_open=True, queue=BatchQueue(1_000))
        partition: Any = SimpleNamespace(number=3, task=self.task, pipeline=SimpleNamespace(sources=["orders"]))
        app: Any = SimpleNamespace(consumer=self.consumer, kafka_client={}, conf=SimpleNamespace(id="shop"))
        self.offsets = SourceOffsets(app, lambda: [partition])

    def look(self, *, stable: int, end: int | None = None, committed: int | None = None) -> None:
        found = {} if committed is None else {ORDERS: committed}
        self.offsets.note({ORDERS: stable if end is None else end}, {ORDERS: stable}, found)

    async def lag(self) -> SourceLag:
        return (await self.offsets.lags())[ORDERS]


@pytest.fixture
async def worker() -> Worker:
    return Worker()


async def test_the_lag_of_an_open_partition_is_what_is_waiting_and_what_is_not_polled(worker: Worker) -> None:
    worker.consumer.places[ORDERS] = (100, 100)
    worker.task.queue.put(batch(7), fold)
    worker.look(stable=100)
    assert (await worker.lag()).records == 7
    worker.look(stable=150)
    assert (await worker.lag()).records == 57, "the last fetch is older"


async def test_the_lag_grows_while_a_full_queue_stops_the_fetching(worker: Worker) -> None:
    worker.consumer.places[ORDERS] = (100, 100)
    lags = []
    for end in (100, 200, 300):
        worker.look(stable=end)
        lags.append((await worker.lag()).records)
    assert lags == [0, 100, 200]


async def test_a_fetch_that_is_newer_than_the_last_look_counts(worker: Worker) -> None:
    worker.look(stable=100)
    worker.consumer.places[ORDERS] = (100, 130)
    assert (await worker.lag()).records == 30


async def test_a_partition_that_is_not_open_lags_from_where_its_group_will_resume(worker: Worker) -> None:
    worker.task.is_open = False
    assert (await worker.lag()).records == 0, "nothing is known yet"
    worker.look(stable=500, committed=40)
    assert (await worker.lag()).records == 460


async def test_a_partition_that_failed_lags_from_where_it_was_until_the_next_look(worker: Worker) -> None:
    worker.task.queue.next_offsets["orders"] = 90
    worker.look(stable=500)
    assert (await worker.lag()).records == 410


async def test_the_figures_do_not_wait_for_a_consumer_that_waits_for_kafka(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_offsets, "POSITION_TIMEOUT_S", 0.01)
    worker.consumer.is_stuck = True
    worker.task.queue.next_offsets["orders"] = 90
    worker.look(stable=100)
    assert (await worker.lag()).records == 10


# -- the oldest record ------------------------------------------------------------------------------------------------


async def test_records_of_a_turn_that_waits_for_a_server_are_not_processed_yet(worker: Worker) -> None:
    worker.consumer.places[ORDERS] = (7, 7)
    worker.look(stable=7)
    worker.task.queue.next_offsets["orders"] = 0
    worker.task.queue.put(batch(4, from_offset=0, at_ms=ago_ms(90)), fold)
    worker.task.queue.put(batch(3, from_offset=4, at_ms=ago_ms(30)), fold)
    worker.task.queue.take(4)
    lag = await worker.lag()
    assert (lag.records, round(lag.oldest_s or 0)) == (7, 90)
    worker.task.queue.turn_ended()
    lag = await worker.lag()
    assert (lag.records, round(lag.oldest_s or 0)) == (3, 30)
    worker.task.queue.take(4)
    worker.task.queue.turn_ended()
    assert await worker.lag() == SourceLag(records=0, oldest_s=0.0, **IDLE)


async def test_the_oldest_record_of_a_partition_that_is_not_polled_is_looked_up(worker: Worker) -> None:
    worker.task.is_open = False
    worker.look(stable=500, committed=40)
    assert (await worker.lag()).oldest_s is None
    assert worker.offsets._unpolled() == {TopicPartition(*ORDERS): 40}
    worker.offsets._first_unread_ms = {ORDERS: ago_ms(3600)}
    assert round((await worker.lag()).oldest_s or 0) == 3600
    worker.look(stable=500, committed=500)
    assert worker.offsets._unpolled() == {}
    assert (await worker.lag()).oldest_s == 0.0


async def test_a_record_of_the_future_is_not_younger_than_now(worker: Worker) -> None:
    worker.consumer.places[ORDERS] = (1, 1)
    worker.task.queue.put(batch(1, at_ms=ago_ms(-90)), fold)
    assert (await worker.lag()).oldest_s == 0.0


def ago_ms(seconds: float) -> int:
    return round((time.time() - seconds) * 1000)


# -- open transactions ------------------------------------------------------------------------------------------------


class Clock:
    """The monotonic time that a look sees."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(source_offsets, "time", clock)
    return clock


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


async def test_a_transaction_that_stays_open_is_shown_and_warned_of_once(
    worker: Worker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    worker.consumer.places[ORDERS] = (100, 100)
    worker.look(stable=100)
    clock.now += 2
    for seconds in range(0, 60, 2):
        worker.look(stable=100, end=101 + seconds)
        assert await worker.lag() == SourceLag(records=0, uncommitted=1 + seconds, held_up_s=seconds)
        assert len(messages(caplog)) == (seconds >= HELD_UP_S)
        clock.now += 2
    [(level, text)] = messages(caplog)
    assert level == "WARNING"
    assert "partition 3 of topic orders is held up" in text
    worker.look(stable=200)
    assert await worker.lag() == SourceLag(records=100, oldest_s=None, **IDLE)
    assert [level for level, _ in messages(caplog)] == ["WARNING", "INFO"]


async def test_transactions_that_end_are_no_reason_to_warn(
    worker: Worker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for seconds in range(60):
        worker.look(stable=100 + seconds, end=105 + seconds)
        clock.now += 5
    assert messages(caplog) == []


async def test_a_second_transaction_is_warned_of_again(
    worker: Worker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for stable in (100, 200):
        for _ in range(2):
            worker.look(stable=stable, end=900)
            clock.now += HELD_UP_S
    assert [level for level, _ in messages(caplog) if level == "WARNING"] == ["WARNING", "WARNING"]


async def test_an_end_that_was_read_before_the_stable_one_makes_no_negative_figure(worker: Worker) -> None:
    worker.consumer.places[ORDERS] = (105, 105)
    worker.look(stable=105, end=100)
    assert await worker.lag() == SourceLag(records=0, **IDLE)


# -- looking ----------------------------------------------------------------------------------------------------------


async def test_kafka_away_is_looked_for_again_and_shown_by_the_age_of_the_figures(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Mapping[TP, bool]] = []

    async def look(is_open: Mapping[TP, bool]) -> None:
        looks.append(is_open)
        if len(looks) < 3:
            raise KafkaConnectionError
        worker.look(stable=1)

    monkeypatch.setattr(source_offsets, "LOOK_INTERVAL_S", 0.001)
    monkeypatch.setattr(source_offsets, "LOOK_TIMEOUT_S", 0.001)
    monkeypatch.setattr(worker.offsets, "_look", look)
    assert worker.offsets.age_s == float("inf")
    await worker.offsets.start()
    await until(lambda: len(looks) > 3)
    await worker.offsets.stop()
    assert looks[0] == {ORDERS: True}
    assert worker.offsets.age_s < 60


def test_a_worker_that_waits_for_kafka_answers_before_the_page_gives_it_up() -> None:
    assert 2 * source_offsets.POSITION_TIMEOUT_S < ANSWER_S
