"""Goal: the guard waits or goes on as it was told, never gets in the way of a turn, and loses no mark silently.

Method: the guard over a client that answers as a test says; what the scripts do is tested on a real Redis.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest

from agents.guard import guard as module
from agents.guard.guard import Answer, Claim, LockGuard, NoGuard, WhenAway
from agents.guard.locks import CLAIM, MARK, parse_lock, token_of
from streams.adapters.redis import CALL_TIMEOUT_S, RedisAwayError, RedisRefusedError, Script
from tests.support import async_waiting

TOKEN = token_of("shop.orders-1", "0" * 32)
LIVENESS_S = 30.0


class Client:
    """Answers every claim with `letter`, every mark with `foreign`; `errors` are raised first, in turn.

    Attributes:
        calls: script, argument and time limit of each call.
        hold: while it is not set, calls hang.
    """

    def __init__(self, letter: str = "A", errors: Sequence[Exception] = ()) -> None:
        self.letter = letter
        self.foreign: list[bytes] = []
        self.errors = list(errors)
        self.calls: list[tuple[Script, Any, float]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.is_away = False
        self.is_closed = False

    async def call(self, script: Script, argument: bytes, *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        content = msgspec.msgpack.decode(argument)
        self.calls.append((script, content, timeout_s))
        await self.hold.wait()
        if self.errors:
            raise self.errors.pop(0)
        if self.is_away:
            raise RedisAwayError("nobody there")
        return self.letter.encode() * len(content[3]) if script is CLAIM else self.foreign

    async def close(self) -> None:
        self.is_closed = True

    def marked(self) -> list[str]:
        """Order ids of the marks that were asked for, in their order."""
        marks = [content[1] for script, content, _ in self.calls if script is MARK]
        return [id_ for groups in marks for _, ids in groups for id_ in ids]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    monkeypatch.setattr(module, "FLUSH_S", 0.2)


def guard_on(client: Client, when_away: WhenAway = WhenAway.WAIT) -> LockGuard:
    return LockGuard(client, retention_s=60, when_away=when_away)


@asynccontextmanager
async def running(client: Client) -> AsyncIterator[LockGuard]:
    guard = guard_on(client)
    await guard.start()
    try:
        yield guard
    finally:
        await guard.stop()


until = partial(async_waiting.until, limit_s=LIVENESS_S)


async def cancelled(step: Coroutine[Any, Any, Any], condition: Callable[[], bool]) -> None:
    """Run `step` until `condition` holds, cancel it, and see it end by that."""
    task = asyncio.ensure_future(step)
    await until(condition)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, LIVENESS_S)


def claims(count: int) -> list[Claim]:
    return [Claim(f"order-{number}") for number in range(count)]


@pytest.mark.parametrize("answer", [a for a in Answer if a is not Answer.UNAVAILABLE])
async def test_every_answer_of_redis_is_passed_on_and_counted(answer: Answer) -> None:
    guard = guard_on(Client(answer.value))
    assert await guard.claim(claims(3), TOKEN) == [answer] * 3
    assert guard.counts[answer.name.lower()] == 3


async def test_a_whole_turn_takes_one_call_per_two_thousand_claims() -> None:
    client = Client()
    assert len(await guard_on(client).claim(claims(4_001), TOKEN)) == 4_001
    assert [len(content[3]) for _, content, _ in client.calls] == [2_000, 2_000, 1]


async def test_a_call_carries_token_application_retention_and_what_was_refused() -> None:
    client = Client()
    await guard_on(client).claim([Claim("a"), Claim("b", was_denied=True)], TOKEN)
    [(_, content, _)] = client.calls
    assert content == [TOKEN, "shop.orders-1", 60, ["a", "b"], [2]]


async def test_without_an_answer_only_orders_pass_that_were_not_denied_before() -> None:
    client = Client()
    client.is_away = True
    guard = guard_on(client, WhenAway.GO_ON)
    answers = await guard.claim([Claim("a"), Claim("b", was_denied=True)], TOKEN)
    assert answers == [Answer.UNAVAILABLE, Answer.HELD]


async def test_no_claims_are_no_call() -> None:
    client = Client()
    assert await guard_on(client).claim([], TOKEN) == []
    assert client.calls == []


async def test_a_claim_waits_until_redis_is_back_and_says_so_twice(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(errors=[RedisAwayError("refused")] * 5)
    guard = guard_on(client)
    with caplog.at_level(logging.WARNING, "agents.guard.guard"):
        assert await guard.claim(claims(2), TOKEN) == [Answer.ACQUIRED] * 2
    assert guard.away_since is None
    assert [record.getMessage().split(" after ")[0] for record in caplog.records] == [
        "refused; complete orders wait until it answers",
        "Redis answers again",
    ]


async def test_a_refused_login_is_waited_for_in_its_own_words(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(errors=[RedisRefusedError("Redis refuses: invalid password")])
    await guard_on(client).claim(claims(1), TOKEN)
    assert "invalid password" in " ".join(caplog.messages)


async def test_the_time_since_when_redis_is_away_can_be_seen() -> None:
    client = Client()
    client.is_away = True
    guard = guard_on(client)
    await cancelled(guard.claim(claims(1), TOKEN), lambda: guard.away_since is not None)


async def test_a_claim_can_be_cancelled_in_the_call_and_between_tries() -> None:
    client = Client()
    guard = guard_on(client)
    client.hold.clear()
    await cancelled(guard.claim(claims(1), TOKEN), lambda: len(client.calls) == 1)
    client.hold.set()
    client.is_away = True
    await cancelled(guard.claim(claims(1), TOKEN), lambda: len(client.calls) > 3)


async def test_going_on_answers_unavailable_and_asks_again_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    client.is_away = True
    guard = guard_on(client, WhenAway.GO_ON)
    assert module.PROBE_PAUSE_S == 1.0
    monkeypatch.setattr(module, "PROBE_PAUSE_S", 1_000.0)  # a slow machine may need more than a second for the loop
    for _ in range(50):
        assert await guard.claim(claims(3_000), TOKEN) == [Answer.UNAVAILABLE] * 3_000
    assert len(client.calls) == 1
    assert guard.counts["unavailable"] == 150_000
    monkeypatch.setattr(module, "PROBE_PAUSE_S", 0.0)
    guard._next_probe = 0.0
    client.is_away = False
    assert await guard.claim(claims(1), TOKEN) == [Answer.ACQUIRED]
    assert guard.away_since is None


async def test_going_on_pays_less_for_a_try_once_redis_is_known_to_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBE_PAUSE_S", 0.0)
    client = Client()
    client.is_away = True
    guard = guard_on(client, WhenAway.GO_ON)
    await guard.claim(claims(1), TOKEN)
    await guard.claim(claims(1), TOKEN)
    assert [limit for _, _, limit in client.calls] == [CALL_TIMEOUT_S, module.PROBE_TIMEOUT_S]


async def test_only_one_of_many_partitions_asks_while_redis_is_away() -> None:
    client = Client()
    client.is_away = True
    guard = guard_on(client, WhenAway.GO_ON)
    await guard.claim(claims(1), TOKEN)
    guard._next_probe = 0.0
    client.hold.clear()
    turns = [asyncio.ensure_future(guard.claim(claims(1), TOKEN)) for _ in range(12)]
    await until(lambda: sum(turn.done() for turn in turns) == 11)
    client.hold.set()
    assert await asyncio.gather(*turns) == [[Answer.UNAVAILABLE]] * 12
    assert len(client.calls) == 2


async def test_marks_of_several_turns_share_a_call_and_are_acknowledged_after_it() -> None:
    client = Client()
    done: list[str] = []
    async with running(client) as guard:
        client.hold.clear()
        guard.mark_emitted(["a"], TOKEN, lambda: done.append("first"))
        await until(lambda: len(client.calls) == 1)
        guard.mark_emitted(["b", "c"], TOKEN, lambda: done.append("second"))
        guard.mark_emitted(["d"], "other:" + "1" * 32, lambda: done.append("third"))
        assert done == []
        client.hold.set()
        await until(lambda: len(done) == 3)
    assert done == ["first", "second", "third"]
    assert client.calls[1][1] == [60, [[TOKEN, ["b", "c"]], ["other:" + "1" * 32, ["d"]]]]
    assert guard.counts["marks"] == 4


async def test_turns_share_a_call_only_up_to_its_bound() -> None:
    client = Client()
    guard = guard_on(client)
    turn = [str(number) for number in range(900)]
    for _ in range(5):
        guard.mark_emitted(turn, TOKEN, lambda: None)
    await guard.start()
    await guard.stop()
    assert [len(content[1]) for _, content, _ in client.calls] == [2, 2, 1]


async def test_a_large_turn_is_marked_in_pieces_and_acknowledged_once() -> None:
    client = Client()
    done: list[int] = []
    ids = [str(number) for number in range(4_500)]
    async with running(client) as guard:
        guard.mark_emitted(ids, TOKEN, lambda: done.append(1))
        await until(lambda: done == [1])
    assert client.marked() == ids
    assert [len(content[1][0][1]) for _, content, _ in client.calls] == [2_000, 2_000, 500]


async def test_marks_wait_for_redis_and_are_then_written() -> None:
    client = Client(errors=[RedisAwayError("away")] * 3)
    done: list[int] = []
    async with running(client) as guard:
        guard.mark_emitted(["a"], TOKEN, lambda: done.append(1))
        await until(lambda: done == [1])
    assert client.marked() == ["a"] * 4


async def test_too_many_waiting_marks_are_given_up_and_counted() -> None:
    client = Client()
    guard = guard_on(client)
    done: list[str] = []
    turn = [str(number) for number in range(4_096)]
    for _ in range(24):
        guard.mark_emitted(turn, TOKEN, lambda: done.append("turn"))
    guard.mark_emitted(turn, TOKEN, lambda: done.append("too many"))
    guard.mark_emitted(["small"], TOKEN, lambda: done.append("small"))
    assert guard.counts["marks_dropped"] == 4_096
    await guard.start()
    await until(lambda: len(done) == 25)
    await guard.stop()
    assert done == ["turn"] * 24 + ["small"]
    assert guard.counts["marks"] == 24 * 4_096 + 1


async def test_marks_of_openings_are_never_given_up_however_many_partitions_open() -> None:
    client = Client()
    guard = guard_on(client)
    done: list[str] = []
    tokens = [f"app:{number:032x}" for number in range(25)]
    recent = [str(number) for number in range(10_000)]
    for token in tokens:
        guard.mark_emitted_before(recent, token, lambda token=token: done.append(token))  # type: ignore[misc]
    guard.mark_emitted(["small"], TOKEN, lambda: done.append("small"))
    await guard.start()
    await until(lambda: len(done) == 26)
    await guard.stop()
    assert done == [*tokens, "small"]
    assert (guard.counts["marks_dropped"], guard.counts["marks"]) == (0, 25 * 10_000 + 1)


async def test_marks_of_an_opening_replace_those_of_an_earlier_one() -> None:
    client = Client()
    guard = guard_on(client)
    done: list[str] = []
    guard.mark_emitted_before(["a"], TOKEN, lambda: done.append("first"))
    guard.mark_emitted_before(["a", "b"], TOKEN, lambda: done.append("second"))
    await guard.start()
    await guard.stop()
    assert (done, client.marked()) == (["second"], ["a", "b"])


async def test_marks_that_are_replaced_while_they_are_written_leave_the_later_ones_waiting() -> None:
    client = Client()
    done: list[str] = []
    async with running(client) as guard:
        client.hold.clear()
        guard.mark_emitted_before(["a"], TOKEN, lambda: done.append("first"))
        await until(lambda: len(client.calls) == 1)
        guard.mark_emitted_before(["b"], TOKEN, lambda: done.append("second"))
        client.hold.set()
        await until(lambda: len(done) == 2)
    assert (done, client.marked()) == (["first", "second"], ["a", "b"])


async def test_an_order_that_another_has_marked_is_named_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    client.foreign = [b"order-7\n"]
    async with running(client) as guard:
        guard.mark_emitted(["order-7\n"], TOKEN, lambda: None)
        await until(lambda: guard.counts["marks"] == 1)
    assert guard.counts["emitted_twice"] == 1
    assert "order 'order-7\\n' was emitted twice" in " ".join(caplog.messages)


async def test_the_end_writes_the_marks_that_wait() -> None:
    client = Client(errors=[RedisAwayError("away")])
    done: list[int] = []
    async with running(client) as guard:
        guard.mark_emitted(["a"], TOKEN, lambda: done.append(1))
    assert done == [1]
    assert client.is_closed


async def test_the_end_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    client.is_away = True
    with caplog.at_level(logging.WARNING, "agents.guard.guard"):
        async with asyncio.timeout(LIVENESS_S), running(client) as guard:
            guard.mark_emitted(["a", "b"], TOKEN, lambda: None)
    assert client.is_closed
    assert "2 emitted orders" in " ".join(caplog.messages)


async def test_a_guard_switched_off_allows_everything() -> None:
    guard = NoGuard()
    done: list[int] = []
    assert await guard.claim(claims(2), TOKEN) == [Answer.ACQUIRED] * 2
    guard.mark_emitted(["a"], TOKEN, lambda: done.append(1))
    assert done == [1]
    assert guard.away_since is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"claimed:shop.orders-1:" + b"0" * 32, ("claimed", "shop.orders-1", "0" * 32)),
        (b"emitted:a:b", ("emitted", "a", "b")),
        (b"released", ("released", "", "")),
        (b"", None),
        (b"claimed:", None),
        (b"kept:a:b", None),
        (b"\xff", None),
    ],
)
def test_a_value_is_taken_apart_or_not_understood(value: bytes, expected: tuple[str, str, str] | None) -> None:
    assert parse_lock(value) == expected
