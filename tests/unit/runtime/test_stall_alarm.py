"""Goal: Faust's alarm for stalled partitions is raised for polled partitions that stand still, and for no other.

Method: the real consumer and its real verification on aiokafka's real assignment, without a connection; the times are
given. Faust calls `verify_event_path` for every assigned partition, every seven seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from time import monotonic
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.structs import TopicPartition
from faust.types import TP

from streams import orders as application
from streams.runtime.faust.fetched import FetchedRecord
from streams.runtime.faust.transport import BatchConsumer, BatchTransport
from streams.runtime.partition.queue import BatchQueue

[PIPELINE] = application.app.pipelines
SOURCE = TP(PIPELINE.sources[0], 0)
assert PIPELINE.changelog is not None
CHANGELOG = TP(PIPELINE.changelog, 0)
HOUR_S = 3600.0


class Client:
    """An aiokafka client whose group assigned the source's and the changelog's partition."""

    def __init__(self) -> None:
        self.state = SubscriptionState()
        self.state.subscribe({SOURCE.topic, CHANGELOG.topic}, listener=None)
        self.state.assign_from_subscribed({TopicPartition(*SOURCE), TopicPartition(*CHANGELOG)})
        self._fetcher = SimpleNamespace(_subscriptions=self.state)

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self.state.assigned_partitions())

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.state.seek(tp, offset)

    def fetched(self, tp: TP, *, end: int) -> None:
        state = cast(Any, self.state.subscription).assignment.state_value(TopicPartition(*tp))
        state.timestamp, state.highwater, state.lso = time.time() * 1000, end, end

    def highwater(self, tp: TopicPartition) -> None:
        """Not known."""


class Stalling:
    """The consumer of a worker that started two hours ago, with the logged alarms."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.client = Client()
        transport: Any = BatchTransport(
            application.app.conf.broker_consumer, application.app, loop=asyncio.get_running_loop()
        )
        self.consumer: BatchConsumer = transport.create_consumer(
            nothing, on_partitions_revoked=nothing, on_partitions_assigned=nothing
        )
        self.thread = cast(Any, self.consumer)._thread
        self.thread._ensure_consumer = lambda: self.client
        self.thread.call_thread = call
        self.thread.time_started = monotonic() - 2 * HOUR_S
        self.consumer.app.topics._acking_topics.add(SOURCE.topic)
        self.task: Any = SimpleNamespace(is_open=True, queue=BatchQueue(1_000_000), partition=0)
        self._caplog = caplog

    async def open(self) -> None:
        self.consumer.begin_at(self.task, {SOURCE: 10})
        await self.consumer._apply_seeks()

    async def hand_over(self, offset: int) -> None:
        record = FetchedRecord(SOURCE.topic, 0, offset, 1_000, b"1", b"{}", ())
        await self.consumer._hand_over(SOURCE, [record])

    def alarms(self, *, after_s: float, tp: TP = SOURCE) -> int:
        """How many errors a check logs that runs so much later."""
        self._caplog.clear()
        self.consumer.verify_event_path(monotonic() + after_s, tp)
        return sum(record.levelno == logging.ERROR for record in self._caplog.records)


async def nothing(*_: Any) -> None:
    """Do nothing with messages and partitions."""


async def call(function: Any, *args: Any) -> Any:
    answer = function(*args)
    return await answer if asyncio.iscoroutine(answer) else answer


@pytest.fixture
async def stalling(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stalling]:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(application.app.monitor, "stream_inbound_time", {})
    monkeypatch.setattr(application.app.topics, "_acking_topics", set())
    stalling = Stalling(caplog)
    cast(Any, stalling.consumer).flow_active = True
    yield stalling
    stalling.thread.thread_loop.close()


def in_stream(at: float) -> None:
    application.app.monitor.stream_inbound_time[SOURCE] = at


async def test_a_changelog_that_is_assigned_but_never_fetched_raises_no_alarm(stalling: Stalling) -> None:
    await stalling.open()
    assert stalling.alarms(after_s=HOUR_S, tp=CHANGELOG) == 0


async def test_a_polled_partition_that_is_never_fetched_raises_one(stalling: Stalling) -> None:
    await stalling.open()
    assert stalling.alarms(after_s=HOUR_S) == 1


async def test_a_partition_whose_stream_takes_nothing_raises_one(stalling: Stalling) -> None:
    await stalling.open()
    stalling.client.fetched(SOURCE, end=20)
    assert stalling.alarms(after_s=HOUR_S) == 1


async def test_a_partition_that_commits_nothing_raises_one(stalling: Stalling) -> None:
    await stalling.open()
    await stalling.hand_over(10)
    stalling.client.fetched(SOURCE, end=20)
    in_stream(monotonic() + HOUR_S)
    assert stalling.alarms(after_s=HOUR_S) == 1


async def test_a_partition_that_is_being_opened_or_was_closed_raises_none(stalling: Stalling) -> None:
    stalling.client.seek(TopicPartition(*SOURCE), 10)
    stalling.client.fetched(SOURCE, end=20)
    assert stalling.alarms(after_s=HOUR_S) == 0
    await stalling.open()
    stalling.task.is_open = False
    assert stalling.alarms(after_s=HOUR_S) == 0


async def test_the_time_counts_from_when_the_partition_was_opened(stalling: Stalling) -> None:
    in_stream(monotonic() - HOUR_S)
    await stalling.open()
    stalling.client.fetched(SOURCE, end=20)
    assert stalling.alarms(after_s=1) == 0, "the worker is old, this partition came a second ago"


async def test_the_first_record_after_a_quiet_hour_is_given_time_to_be_committed(stalling: Stalling) -> None:
    await stalling.open()
    await stalling.hand_over(10)
    stalling.consumer.note_committed({SOURCE: 11})
    stalling.thread.tp_last_committed_at[SOURCE] -= HOUR_S
    cast(Any, stalling.consumer)._polled_since[SOURCE] -= HOUR_S
    await stalling.hand_over(11)
    stalling.client.fetched(SOURCE, end=20)
    in_stream(monotonic())
    assert stalling.alarms(after_s=1) == 0
    in_stream(monotonic() + HOUR_S)
    assert stalling.alarms(after_s=HOUR_S) == 1
