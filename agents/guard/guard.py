"""The lock guard: an order is claimed in Redis before it is emitted, and marked afterwards.

Within an application, Kafka's transactions already emit an order only once. The guard covers the other cases: a second
deployment, a group that was created again, a topic that was restored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from enum import Enum, StrEnum
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from mode import Service

from agents.guard.locks import CLAIM, MARK, MOST_PER_CALL, app_of
from streams.adapters.redis import CALL_TIMEOUT_S, Outage, RedisAwayError, ScriptCaller

log = logging.getLogger(__name__)

RETRY_S: Final = 0.5
PROBE_PAUSE_S: Final = 1.0
PROBE_TIMEOUT_S: Final = 0.25
"""Longest delay of a turn that goes on without Redis while Redis is known to be away."""

MOST_WAITING_MARKS: Final = 100_000
FLUSH_S: Final = 2.0
"""How long a stopping worker waits for marks to be written. An order without its mark is still claimed, which keeps
other deployments from emitting it too."""

_encode = msgspec.msgpack.Encoder().encode


class Answer(Enum):
    """The guard's answer to a claim; the values are the letters that the script returns."""

    ACQUIRED = "A"
    """The lock was free or released, and is ours now."""
    MINE = "M"
    """This token had claimed the order before."""
    EMITTED_BY_US = "O"
    """This application has emitted the order, maybe with an earlier state, and so may amend it."""
    EMITTED_ELSEWHERE = "E"
    """Another application has emitted the order."""
    HELD = "H"
    """Another token has claimed the order, or its lock vanished after a denial: ask again."""
    UNAVAILABLE = "U"
    """Redis did not answer, and the guard is set to go on without it."""


_ANSWERS: Final = {ord(answer.value): answer for answer in Answer}


class WhenAway(StrEnum):
    """Behaviour of a claim while Redis does not answer: wait, or go on without the guard."""

    WAIT = "wait"
    GO_ON = "go_on"


class Claim(NamedTuple):
    """An order to be emitted. After a denial, a missing lock no longer permits its emission; a released one does."""

    order_id: str
    was_denied: bool = False


class Guard(Protocol):
    """Interface through which the order completion uses a guard."""

    counts: Counter[str]

    @property
    def away_since(self) -> float | None:
        """Start of an outage of Redis, Unix time in seconds; None without one."""

    async def claim(self, claims: Sequence[Claim], token: str) -> Sequence[Answer]:
        """Claim orders for a token, all at once; return an answer for each, in order."""

    def mark_emitted(self, order_ids: Sequence[str], token: str, done: Callable[[], None]) -> None:
        """Queue orders to be marked as emitted; `done` is called once they are, never if they are given up."""


class _Marks(NamedTuple):
    order_ids: Sequence[str]
    token: str
    done: Callable[[], None]


class LockGuard(Service):
    """The guard that keeps its locks in Redis.

    Args:
        client: calls scripts on the locks' database; closed with the guard.
        retention_s: time to live of a lock in seconds, from its last claim or mark.
        when_away: whether claims wait while Redis does not answer.

    Attributes:
        counts: claims by answer; `marks` written; `marks_dropped` because too many waited; `emitted_twice`: orders
            whose lock was marked by another application; `away_seconds` of outages that have ended.
    """

    def __init__(self, client: ScriptCaller, *, retention_s: int, when_away: WhenAway, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        names = [*(answer.name.lower() for answer in Answer), "marks", "marks_dropped", "emitted_twice", "away_seconds"]
        self.counts: Counter[str] = Counter(dict.fromkeys(names, 0))
        self._client = client
        self._retention_s = retention_s
        self._goes_on = when_away is WhenAway.GO_ON
        consequence = "orders go out unguarded" if self._goes_on else "complete orders wait for it"
        self._outage = Outage(log, consequence)
        self._next_probe = 0.0
        self._marks: deque[_Marks] = deque()
        self._waiting_ids = 0
        self._has_marks = asyncio.Event()
        self._has_none = asyncio.Event()
        self._has_none.set()

    @property
    def away_since(self) -> float | None:
        """Start of an outage of Redis, Unix time in seconds; None without one."""
        return self._outage.since

    # -- claims -------------------------------------------------------------------------------------------------------

    async def claim(self, claims: Sequence[Claim], token: str) -> Sequence[Answer]:
        """Claim orders for a token; return an answer for each, in order.

        May be cancelled at any point: the next call answers `MINE` for the orders that were claimed by then.
        """
        answers = bytearray()
        for begin in range(0, len(claims), MOST_PER_CALL):
            answers += await self._claim(claims[begin : begin + MOST_PER_CALL], token)
        for letter, answer in _ANSWERS.items():
            self.counts[answer.name.lower()] += answers.count(letter)
        return [_ANSWERS[letter] for letter in answers]

    async def _claim(self, claims: Sequence[Claim], token: str) -> bytes:
        denied = [position for position, claim in enumerate(claims, 1) if claim.was_denied]
        blob = _encode((token, app_of(token), self._retention_s, [claim.order_id for claim in claims], denied))
        unavailable = Answer.UNAVAILABLE.value.encode() * len(claims)
        while True:
            if self._goes_on and not self._may_probe():
                return unavailable
            try:
                answer: bytes = await self._client.call(CLAIM, blob, timeout_s=self._patience_s())
            except RedisAwayError as error:
                self._outage.begin(error)
                if self._goes_on:
                    self._next_probe = time.monotonic() + PROBE_PAUSE_S
                    return unavailable
                await asyncio.sleep(RETRY_S)
            else:
                self._answered()
                assert len(answer) == len(claims)
                return answer

    def _may_probe(self) -> bool:
        """Whether to ask Redis at all: during an outage, only one turn per second does."""
        now = time.monotonic()
        if self._outage.since is not None:
            if now < self._next_probe:
                return False
            self._next_probe = now + PROBE_PAUSE_S
        return True

    def _patience_s(self) -> float:
        return PROBE_TIMEOUT_S if self._goes_on and self._outage.since is not None else CALL_TIMEOUT_S

    def _answered(self) -> None:
        self.counts["away_seconds"] += round(self._outage.end())

    # -- marks --------------------------------------------------------------------------------------------------------

    def mark_emitted(self, order_ids: Sequence[str], token: str, done: Callable[[], None]) -> None:
        """Queue orders to be marked as emitted; `done` is called once Redis has acknowledged all of them.

        Returns at once. If too many marks are waiting already, these are given up, and `done` is never called.
        """
        if self._waiting_ids + len(order_ids) > MOST_WAITING_MARKS:
            self.counts["marks_dropped"] += len(order_ids)
            return
        self._waiting_ids += len(order_ids)
        self._marks.append(_Marks(order_ids, token, done))
        self._has_none.clear()
        self._has_marks.set()

    async def on_stop(self) -> None:
        """Write the waiting marks, if possible within `FLUSH_S`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._has_none.wait()
        if self._waiting_ids:
            log.warning(
                "%d emitted orders are still marked only as claimed; Redis did not accept the 'emitted' marks",
                self._waiting_ids,
            )

    async def on_shutdown(self) -> None:
        """Release the connections."""
        await self._client.close()

    @Service.task
    async def _write_marks(self) -> None:
        while True:  # until cancelled, after `on_stop` has waited for the last marks
            await self._has_marks.wait()
            marks = self._next_marks()
            try:
                for blob in self._blobs(marks):
                    self._note_twice(await self._client.call(MARK, blob))
            except RedisAwayError as error:
                self._outage.begin(error)
                await asyncio.sleep(RETRY_S)
            else:
                self._answered()
                self._marks_written(marks)

    def _next_marks(self) -> list[_Marks]:
        """The oldest marks that fit into one call, but at least one entry, whatever its size."""
        taken: list[_Marks] = []
        size = 0
        for mark in self._marks:
            size += len(mark.order_ids)
            if taken and size > MOST_PER_CALL:
                break
            taken.append(mark)
        return taken

    def _blobs(self, marks: list[_Marks]) -> list[bytes]:
        if len(marks) > 1:
            return [_encode((self._retention_s, [(mark.token, mark.order_ids) for mark in marks]))]
        [mark] = marks
        return [
            _encode((self._retention_s, [(mark.token, mark.order_ids[begin : begin + MOST_PER_CALL])]))
            for begin in range(0, len(mark.order_ids), MOST_PER_CALL)
        ]

    def _note_twice(self, order_ids: Sequence[bytes]) -> None:
        self.counts["emitted_twice"] += len(order_ids)
        for order_id in order_ids:
            log.warning("order %r was emitted twice: its lock is marked by another application", order_id.decode())

    def _marks_written(self, marks: list[_Marks]) -> None:
        for mark in marks:
            self._marks.popleft()
            self._waiting_ids -= len(mark.order_ids)
            self.counts["marks"] += len(mark.order_ids)
            mark.done()
        if not self._marks:
            self._has_marks.clear()
            self._has_none.set()


class NoGuard:
    """A disabled guard: every claim is granted, and every mark is done at once."""

    away_since: float | None = None

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    async def claim(self, claims: Sequence[Claim], token: str) -> Sequence[Answer]:
        """Grant every claim."""
        return [Answer.ACQUIRED] * len(claims)

    def mark_emitted(self, order_ids: Sequence[str], token: str, done: Callable[[], None]) -> None:
        """Mark nothing."""
        done()
