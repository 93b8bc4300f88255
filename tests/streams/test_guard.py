"""Goal: the scripts answer rightly on a real Redis, and the guard and the cache survive its faults.

Method: a Redis of its own, killed, frozen, filled and emptied; keys are read back past the code under test. Redis is
started from the main thread only, because it ends with the thread that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import pytest
import redis

from agents.guard.guard import Answer, Claim, LockGuard, WhenAway
from agents.guard.locks import CLAIM, DATABASE, lock_key, token_of
from config.settings import RedisSettings
from stack.local import Stack
from stack.ports import free_ports
from streams.adapters.redis import RedisAwayError, RedisClient, RedisRefusedError, Script
from tables import order_cache
from tables.order_cache import CachedOrder, OrderCache
from tests.support import async_waiting

LIVENESS_S = 60.0
RETENTION_S = 1_000
OURS, OURS_BEFORE = token_of("shop.orders-1", "1" * 32), token_of("shop.orders-1", "2" * 32)
THEIRS = token_of("shop.orders-10", "3" * 32)
ECHO = Script("return ARGV[1]")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("redis")
    with Stack.at(folder, ports=free_ports(), servers=["redis"], die_with_parent=True) as stack:
        yield stack


@pytest.fixture
def url(stack: Stack) -> str:
    return RedisSettings.read(stack.environment()).url


@pytest.fixture
def server(url: str) -> Iterator[Any]:
    """A client of the locks' database, past the code under test; everything is deleted before."""
    with contextlib.closing(redis.Redis.from_url(url, db=DATABASE, decode_responses=True)) as client:
        client.flushall()
        yield client


@contextlib.asynccontextmanager
async def running(url: str, when_away: WhenAway = WhenAway.WAIT) -> AsyncIterator[LockGuard]:
    guard = LockGuard(RedisClient(url, database=DATABASE), retention_s=RETENTION_S, when_away=when_away)
    await guard.start()
    try:
        yield guard
    finally:
        await guard.stop()


until = partial(async_waiting.until, limit_s=LIVENESS_S)


async def ask(guard: LockGuard, *order_ids: str, token: str = OURS, was_denied: bool = False) -> Sequence[Answer]:
    return await asyncio.wait_for(guard.claim([Claim(id_, was_denied) for id_ in order_ids], token), LIVENESS_S)


async def mark(guard: LockGuard, order_id: str, token: str = OURS) -> None:
    done = asyncio.Event()
    guard.mark_emitted([order_id], token, done.set)
    await asyncio.wait_for(done.wait(), LIVENESS_S)


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "was_denied", "answer"),
    [
        (None, False, Answer.ACQUIRED),
        (None, True, Answer.HELD),
        ("released", False, Answer.ACQUIRED),
        ("released", True, Answer.ACQUIRED),
        (f"claimed:{OURS}", False, Answer.MINE),
        (f"claimed:{OURS}", True, Answer.MINE),
        (f"claimed:{OURS_BEFORE}", False, Answer.HELD),
        (f"claimed:{THEIRS}", False, Answer.HELD),
        (f"emitted:{OURS}", False, Answer.EMITTED_BY_US),
        (f"emitted:{OURS_BEFORE}", True, Answer.EMITTED_BY_US),
        (f"emitted:{THEIRS}", False, Answer.EMITTED_ELSEWHERE),
        (f"emitted:{THEIRS}", True, Answer.EMITTED_ELSEWHERE),
        ("something else", False, Answer.HELD),
        ("", False, Answer.HELD),
    ],
)
async def test_what_lies_at_the_key_decides(
    url: str, server: Any, found: str | None, was_denied: bool, answer: Answer
) -> None:
    key = lock_key("order-1")
    if found is not None:
        server.set(key, found, ex=10)
    async with running(url) as guard:
        assert await ask(guard, "order-1", was_denied=was_denied) == [answer]
    is_ours = answer in (Answer.ACQUIRED, Answer.MINE)
    assert server.get(key) == (f"claimed:{OURS}" if is_ours else found)
    if is_ours:
        assert RETENTION_S - 60 < server.ttl(key) <= RETENTION_S
    elif found is not None:
        assert server.ttl(key) <= 10


async def test_answers_come_in_the_order_of_the_claims(url: str, server: Any) -> None:
    order_ids = [f"Bestellung-{number} 'ü\\n\" {{}}" for number in range(4_500)]
    taken = set(order_ids[::7])
    async with running(url) as guard:
        await ask(guard, *taken, token=THEIRS)
        answers = await ask(guard, *order_ids)
    expected = [Answer.HELD if order_id in taken else Answer.ACQUIRED for order_id in order_ids]
    assert answers == expected
    assert server.dbsize() == 4_500


async def test_only_those_refused_before_need_a_release(url: str, server: Any) -> None:
    claims = [Claim("a"), Claim("b", was_denied=True), Claim("c")]
    async with running(url) as guard:
        assert await guard.claim(claims, OURS) == [Answer.ACQUIRED, Answer.HELD, Answer.ACQUIRED]
    assert sorted(server.keys()) == [lock_key("a"), lock_key("c")]


async def test_a_key_that_is_no_text_holds_its_own_order_only(url: str, server: Any) -> None:
    server.rpush(lock_key("b"), "a list")
    async with running(url) as guard:
        assert await ask(guard, "a", "b", "c") == [Answer.ACQUIRED, Answer.HELD, Answer.ACQUIRED]


async def test_a_mark_replaces_a_claim_but_not_anothers_mark(url: str, server: Any) -> None:
    server.set(lock_key("theirs"), f"emitted:{THEIRS}", ex=10)
    async with running(url) as guard:
        await ask(guard, "claimed")
        for order_id in ("claimed", "vanished", "theirs", "claimed"):
            await mark(guard, order_id)
        assert guard.counts["emitted_twice"] == 1
    assert server.get(lock_key("claimed")) == server.get(lock_key("vanished")) == f"emitted:{OURS}"
    assert RETENTION_S - 60 < server.ttl(lock_key("claimed")) <= RETENTION_S
    assert server.get(lock_key("theirs")) == f"emitted:{THEIRS}"


def _acquired(url: str, token: str, order_ids: list[str], start: Any, answers: Any) -> None:
    """One of two deployments, in a process of its own: claims everything, in turns."""

    async def run() -> list[str]:
        async with running(url) as guard:
            found: list[str] = []
            for begin in range(0, len(order_ids), 250):
                turn = order_ids[begin : begin + 250]
                given = await ask(guard, *turn, token=token)
                found += [id_ for id_, answer in zip(turn, given, strict=True) if answer is Answer.ACQUIRED]
            return found

    start.wait(LIVENESS_S)
    answers.put((token, asyncio.run(run())))


def test_of_two_racing_deployments_exactly_one_gets_each_order(url: str, server: Any) -> None:
    order_ids = [f"order-{number}" for number in range(10_000)]
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_acquired, args=(url, token, ids, start, answers), daemon=True)
        for token, ids in ((OURS, order_ids), (THEIRS, order_ids[5_000:] + order_ids[:5_000]))
    ]
    for process in processes:
        process.start()
    got = dict(answers.get(timeout=LIVENESS_S) for _ in processes)
    for process in processes:
        process.join(LIVENESS_S)
    assert sorted(got[OURS] + got[THEIRS]) == sorted(order_ids)
    assert all(got.values()), "neither was so late that there was no race"
    for token, mine in got.items():
        assert set(server.mget([lock_key(id_) for id_ in mine])) == {f"claimed:{token}"}


# -- faults -----------------------------------------------------------------------------------------------------------


async def test_a_claim_waits_for_a_redis_that_was_killed(stack: Stack, url: str, server: Any) -> None:
    server.config_set("appendfsync", "always")  # else the newest writes may be lost with it
    server.set(lock_key("theirs"), f"claimed:{THEIRS}")
    async with running(url) as guard:
        await ask(guard, "before")
        stack.kill("redis")
        waiting = asyncio.ensure_future(ask(guard, "theirs", "new"))
        await until(lambda: guard.away_since is not None)
        assert not waiting.done()
        stack.start("redis")
        assert await waiting == [Answer.HELD, Answer.ACQUIRED]
        assert guard.away_since is None


async def test_going_on_does_not_wait_and_guards_again_afterwards(stack: Stack, url: str, server: Any) -> None:
    async with running(url, WhenAway.GO_ON) as guard:
        await ask(guard, "before")
        stack.kill("redis")
        try:
            assert await ask(guard, "during") == [Answer.UNAVAILABLE]
            marked = asyncio.ensure_future(mark(guard, "during"))
            assert await ask(guard, "during too") == [Answer.UNAVAILABLE]
        finally:
            stack.start("redis")
        await asyncio.wait_for(marked, LIVENESS_S)
        assert await ask(guard, "during", "after") == [Answer.EMITTED_BY_US, Answer.ACQUIRED]


async def test_a_frozen_redis_is_away_until_it_thaws(stack: Stack, url: str, server: Any) -> None:
    async with running(url) as guard, running(url, WhenAway.GO_ON) as other:
        await ask(guard, "before")
        await ask(other, "before")
        stack.pause("redis")
        try:
            waiting = asyncio.ensure_future(ask(guard, "order-1"))
            assert await ask(other, "order-2") == [Answer.UNAVAILABLE]
            await until(lambda: guard.away_since is not None)
        finally:
            stack.resume("redis")
        # The call that was given up may have run all the same once Redis went on.
        assert await waiting in ([Answer.ACQUIRED], [Answer.MINE])
        while other.away_since is not None:
            [answer] = await ask(other, "order-3")
            await asyncio.sleep(0.01)
        assert answer is Answer.ACQUIRED
    assert server.get(lock_key("order-1")) == f"claimed:{OURS}"


async def test_a_call_that_is_cancelled_half_way_leaves_no_answer_to_the_next(stack: Stack, url: str) -> None:
    client = RedisClient(url, database=DATABASE)
    assert await client.call(ECHO, b"warm") == b"warm"
    for number in range(20):
        stack.pause("redis")
        try:
            task = asyncio.ensure_future(client.call(ECHO, b"lost-%d" % number))
            await asyncio.sleep(0.001 * number)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        finally:
            stack.resume("redis")
        assert await client.call(ECHO, b"next-%d" % number) == b"next-%d" % number
    await client.close()


async def test_a_cancellation_at_any_moment_ends_the_call_and_harms_no_other(url: str) -> None:
    client = RedisClient(url, database=DATABASE)
    for number in range(500):
        calls = [asyncio.ensure_future(client.call(ECHO, b"%d-%d" % (number, i))) for i in range(12)]
        for _ in range(number % 25):
            await asyncio.sleep(0)
        cancelled = [call for call in calls[::2] if call.cancel()]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for i, (call, answer) in enumerate(zip(calls, answers, strict=True)):
            # One that were swallowed would leave a rebalance waiting for ever.
            assert call.cancelled() if call in cancelled else answer == b"%d-%d" % (number, i)
    assert await asyncio.gather(*(client.call(ECHO, b"%d" % i) for i in range(50))) == [b"%d" % i for i in range(50)]
    await client.close()


async def test_forgotten_scripts_are_loaded_again(url: str, server: Any) -> None:
    async with running(url) as guard:
        await ask(guard, "a")
        server.script_flush()
        assert await ask(guard, "a", "b") == [Answer.MINE, Answer.ACQUIRED]
        server.script_flush()
        await mark(guard, "a")
    assert server.get(lock_key("a")) == f"emitted:{OURS}"


async def test_marks_queued_in_an_outage_are_written_after_it(stack: Stack, url: str, server: Any) -> None:
    async with running(url) as guard:
        await ask(guard, *(f"order-{number}" for number in range(3_000)))
        stack.kill("redis")
        done: list[int] = []
        for turn in range(3):
            ids = [f"order-{number}" for number in range(turn * 1_000, turn * 1_000 + 1_000)]
            guard.mark_emitted(ids, OURS, lambda turn=turn: done.append(turn))  # type: ignore[misc]
        await until(lambda: guard.away_since is not None)
        assert done == []
        stack.start("redis")
        await until(lambda: done == [0, 1, 2])
    assert set(server.mget([lock_key(f"order-{number}") for number in range(3_000)])) == {f"emitted:{OURS}"}


async def test_a_full_redis_is_away_and_a_wrong_password_is_refused(url: str, server: Any) -> None:
    client = RedisClient(url, database=DATABASE)
    write = Script("return redis.call('SET', 'big', ARGV[1])")
    server.config_set("maxmemory", 1)
    try:
        with pytest.raises(RedisAwayError, match="maxmemory") as full:
            await client.call(write, b"x")
        assert type(full.value) is RedisAwayError
    finally:
        server.config_set("maxmemory", 0)
    await client.call(write, b"x")
    await client.close()
    wrong = RedisClient(url.replace("redis://:", "redis://:not-"), database=DATABASE)
    with pytest.raises(RedisRefusedError) as refused:
        await wrong.call(ECHO, b"")
    await wrong.close()
    password = url.partition("//:")[2].partition("@")[0]
    assert password not in f"{refused.value} {refused.value!r} {wrong!r} {client!r}"


async def test_a_user_who_may_do_little_is_enough_for_the_guard(url: str, server: Any) -> None:
    rights = ["reset", "on", ">secret", "~order_trigger_lock:*", "+eval", "+evalsha", "+get", "+set", "+select"]
    server.execute_command("ACL", "SETUSER", "guard", *rights)
    limited = f"redis://guard:secret@{url.partition('@')[2]}"
    async with running(limited) as guard:
        assert await ask(guard, "a") == [Answer.ACQUIRED]
        await mark(guard, "a")
    server.execute_command("ACL", "SETUSER", "guard", "resetkeys", "~other:*")
    client = RedisClient(limited, database=DATABASE)
    try:
        with pytest.raises(RedisRefusedError, match="can't access at least one of the keys"):
            await client.call(CLAIM, msgspec.msgpack.encode((OURS, "shop.orders-1", RETENTION_S, ["a"], [])))
    finally:
        await client.close()


async def test_the_databases_number_does_not_come_from_the_url(url: str, server: Any) -> None:
    client = RedisClient(f"{url}/7?db=8", database=DATABASE)
    await client.call(Script("return redis.call('SET', 'here', ARGV[1])"), b"x")
    await client.close()
    assert server.get("here") == "x"


# -- cache ------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def caching(url: str) -> AsyncIterator[OrderCache]:
    cache = OrderCache(RedisClient(url, database=order_cache.DATABASE), ttl_s=120)
    await cache.start()
    try:
        yield cache
    finally:
        await cache.stop()


async def test_the_cache_holds_json_with_a_time_to_live_until_the_order_is_deleted(url: str, server: Any) -> None:
    with contextlib.closing(redis.Redis.from_url(url, db=1, decode_responses=True)) as reader:
        async with caching(url) as cache:
            cache.put({"order-1": CachedOrder(11, None, 2), "order-ü": CachedOrder(12, 3, 1)})
            await until(lambda: cache.counts["cached"] == 2)
            found = json.loads(str(reader.get("order:order-1")))
            assert found == {"customer_id": 11, "payment_method_id": None, "num_products": 2}
            assert 60 < int(reader.ttl("order:order-ü")) <= 120
            cache.put({"order-1": None})
            await until(lambda: cache.counts["cache_deleted"] == 1)
        assert reader.keys() == ["order:order-ü"]


async def test_the_cache_drops_what_is_too_much_and_goes_on_after_an_outage(
    stack: Stack, url: str, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_cache, "RETRY_S", 0.05)
    async with caching(url) as cache:
        stack.kill("redis")
        cache.put({f"order-{number}": CachedOrder(1, 1, 1) for number in range(order_cache.MOST_WAITING + 500)})
        await until(lambda: cache.away_since is not None)
        stack.start("redis")
        await until(lambda: cache.counts["cached"] == order_cache.MOST_WAITING)
        assert cache.counts["cache_dropped"] == 500
        assert cache.away_since is None
