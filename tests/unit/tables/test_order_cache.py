"""Goal: writing the cache never holds up or outgrows a worker, whatever Redis does.

Method: the cache over a client that answers as a test says; what the script does is tested on a real Redis.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest

from streams.adapters.redis import CALL_TIMEOUT_S, RedisAwayError, Script
from tables import order_cache as module
from tables.order_cache import MOST_PER_CALL, MOST_WAITING, CachedOrder, OrderCache
from tests.support import async_waiting

ORDER = CachedOrder(11, 3, 2)
LIVENESS_S = 30.0


class Client:
    """Keeps what it is asked to write; `is_away` and `hold` make it fail or hang."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.is_away = False
        self.is_closed = False
        self.hold = asyncio.Event()
        self.hold.set()

    async def call(self, script: Script, argument: bytes, *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        if self.is_away:
            raise RedisAwayError("nobody there")
        self.calls.append(msgspec.msgpack.decode(argument))
        await self.hold.wait()

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    monkeypatch.setattr(module, "FLUSH_S", 0.2)


@asynccontextmanager
async def running(client: Client) -> AsyncIterator[OrderCache]:
    cache = OrderCache(client, ttl_s=120)
    await cache.start()
    try:
        yield cache
    finally:
        await cache.stop()


until = partial(async_waiting.until, limit_s=LIVENESS_S)


async def test_orders_are_written_as_json_and_deleted_ones_removed() -> None:
    client = Client()
    async with running(client) as cache:
        cache.put({"a": ORDER, "b": None})
    assert client.calls == [[120, {"a": '{"customer_id":11,"payment_method_id":3,"num_products":2}'}, ["b"]]]
    assert cache.counts == {"cached": 1, "cache_deleted": 1, "cache_dropped": 0}
    assert client.is_closed


async def test_the_newest_value_of_an_order_wins_while_it_waits() -> None:
    client = Client()
    cache = OrderCache(client)
    cache.put({"a": ORDER, "b": ORDER})
    cache.put({"a": None})
    await cache.start()
    await cache.stop()
    assert [(list(kept), deleted) for _, kept, deleted in client.calls] == [(["b"], ["a"])]


async def test_a_value_that_comes_while_the_older_one_is_written_is_written_after_it() -> None:
    client = Client()
    client.hold.clear()
    async with running(client) as cache:
        cache.put({"a": ORDER})
        await until(lambda: len(client.calls) == 1)
        cache.put({"a": CachedOrder(11, 4, 2)})
        client.hold.set()
        await until(lambda: cache.counts["cached"] == 2)
    assert '"payment_method_id":4' in client.calls[1][1]["a"]


async def test_many_orders_go_in_calls_of_bounded_size() -> None:
    client = Client()
    async with running(client) as cache:
        cache.put({str(number): ORDER for number in range(MOST_PER_CALL + 1)})
    assert [len(kept) for _, kept, _ in client.calls] == [MOST_PER_CALL, 1]


async def test_an_outage_costs_the_oldest_entries_and_two_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    client.is_away = True
    with caplog.at_level(logging.WARNING, "tables.order_cache"):
        async with running(client) as cache:
            for begin in range(0, 3 * MOST_WAITING, 1_000):
                cache.put({str(number): ORDER for number in range(begin, begin + 1_000)})
                await asyncio.sleep(0)
            await until(lambda: cache.away_since is not None)
            assert cache.counts["cache_dropped"] == 2 * MOST_WAITING
            client.is_away = False
            await until(lambda: cache.counts["cached"] == MOST_WAITING)
    written = [int(id_) for _, kept, _ in client.calls for id_ in kept]
    assert sorted(written) == list(range(2 * MOST_WAITING, 3 * MOST_WAITING))
    assert len(caplog.records) == 2


async def test_nothing_to_write_is_no_call() -> None:
    client = Client()
    async with running(client) as cache:
        cache.put({})
    assert client.calls == []


async def test_the_end_does_not_wait_for_ever() -> None:
    client = Client()
    client.is_away = True
    async with asyncio.timeout(LIVENESS_S), running(client) as cache:
        cache.put({"a": ORDER})
    assert client.is_closed
