"""The lock guard: claims the lock of an order in Redis before the order is emitted, and marks it afterwards.

Kafka transactions already ensure that one application emits an order only once. The guard covers the remaining cases: a
second deployment, a consumer group that was created again, or a topic that was restored.
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
"""Timeout of a claim during an outage of Redis, if orders are then emitted without a lock."""

MOST_WAITING_MARKS: Final = 100_000
FLUSH_S: Final = 2.0
"""How many seconds a stopping worker waits until its marks are written. An order without a mark is still claimed, which
prevents other deployments from emitting it."""

_encode = msgspec.msgpack.Encoder().encode


class Answer(Enum):
    """Result of a claim; the values are the letters that the Redis script returns."""

    ACQUIRED = "A"
    """The lock was free or released, and now belongs to this token."""
    MINE = "M"
    """This token had already claimed the order."""
    EMITTED_BY_US = "O"
    """This application has already emitted the order, possibly from an earlier state, and may amend it."""
    EMITTED_ELSEWHERE = "E"
    """Another application has already emitted the order."""
    HELD = "H"
    """Another token has claimed the order, or its lock is missing after an earlier denial; claim it again later."""
    UNAVAILABLE = "U"
    """Redis did not answer, and the guard is configured to let orders pass in this case, unless it has denied them."""


_ANSWERS: Final = {ord(answer.value): answer for answer in Answer}


class WhenAway(StrEnum):
    """What a claim does while Redis does not answer: wait, or let the orders pass without a lock."""

    WAIT = "wait"
    GO_ON = "go_on"


class Claim(NamedTuple):
    """A request for an order's lock. A missing lock is granted, but not if an earlier request for it was denied."""

    order_id: str
    was_denied: bool = False


class Guard(Protocol):
    """Interface through which the order completion uses a lock guard."""

    counts: Counter[str]

    @property
    def away_since(self) -> float | None:
        """Start of the current Redis outage, as Unix time in seconds; None if there is no outage."""

    async def claim(self, claims: Sequence[Claim], token: str) -> Sequence[Answer]:
        """Claim the locks of orders for a token; return one answer per claim, in the same order."""

    def mark_emitted(self, order_ids: Sequence[str], token: str, done: Callable[[], None]) -> None:
        """Queue orders to be marked as emitted; call `done` when they are marked, or never if the queue is full."""

    def mark_emitted_before(self, order_ids: Sequence[str], token: str, done: Callable[[], None]) -> None:
        """Queue the orders that a partition's former owner emitted, when it opens; they are never dropped."""


class _Marks(NamedTuple):
    order_ids: Sequence[str]
    token: str
    done: Callable[[], None]


class LockGuard(Service):
    """A guard that stores a lock per order in Redis.

    Args:
        client: runs scripts in the locks' database; the guard closes it.
        retention_s: time to live of a lock in seconds, from its last claim or mark.
        when_away: whether claims wait while Redis does not answer.

    Attributes:
        counts: claims by answer; `marks` (marks written); `marks_dropped` (marks dropped because too many were
            waiting); `emitted_twice` (orders that another application had already marked as emitted); `away_seconds`
            (total duration of past outages).
    """

    def __init__(self, client: ScriptCaller, *, retention_s: int, when_away: WhenAway, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        names = [*(answer.name.lower() for answer in Answer), "marks", "marks_dropped", "emitted_twice", "away_seconds"]
        self.counts: Counter[str] = Counter(dict.fromkeys(names, 0))
        self._client = client
        self._retention_s = retention_s
        self._goes_on = when_away is WhenAway.GO_ON
        consequence = "orders are emitted without a lock" if self._goes_on else "complete orders wait until it answers"
        self._outage = Outage(log, consequence)
        self._next_probe = 0.0
        self._marks: deque[_Marks] = deque()
        self._marks_of_openings: dict[str, _Marks] = {}  # keyed by token
        self._waiting_ids = 0
        self._has_marks = asyncio.Event()
        self._has_none = asyncio.Event()
        self._has_none.set()

    @property
    def away_since(self) -> float | None:
        """Start of the current Redis outage, as Unix time in seconds; None if there is no outage."""
        return self._outage.since

    # -- claims -------------------------------------------------------------------------------------------------------

    async def claim(self, claims: Sequence[Claim], token: str) -> Sequence[Answer]:
        """Claim the locks of orders for a token; return one answer per claim, in the same order.

        It is safe to cancel the call: a repeated call returns `MINE` for the orders that were already claimed.
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
        while not self._goes_on or self._may_probe():
            try:
                answer: bytes = await self._client.call(CLAIM, blob, timeout_s=self._patience_s())
            except RedisAwayError as error:
                self._outage.begin(error)
                if self._goes_on:
                    self._next_probe = time.monotonic() + PROBE_PAUSE_S
                    break
                await asyncio.sleep(RETRY_S)
            else:
                self._answered()
                assert len(answer) == len(claims)
                return answer
        answers = (Answer.HELD if claim.was_denied else Answer.UNAVAILABLE for claim in claims)  # no news of a denial
        return "".join(each.value for each in answers).encode()

    def _may_probe(self) -> bool:
        """Return whether to send a claim to Redis; during an outage, only one claim per second is sent."""
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
        """Queue orders to be marked as emitted, and return at once; call `done` when Redis has stored all their marks.

        If too many marks are already waiting, the new marks are dropped, and `done` is never called.
        """
        if self._waiting_ids + len(order_ids) > MOST_WAITING_MARKS:
            self.counts["marks_dropped"] += len(order_ids)
            return
        self._waiting_ids += len(order_ids)
        self._marks.append(_Marks(order_ids, token, done))
        self._note_marks()

    def mark_emitted_before(self, order_ids: Sequence[str], token: str, done: Callable[[], None]) -> None:
        """Queue the orders that a partition's former owner emitted, and return at once.

        They do not count towards the limit of `mark_emitted`: if they were dropped, the partition could not settle any
        later follow-up. Their number is bounded all the same, as those of a partition's next opening replace them.
        """
        self._marks_of_openings[token] = _Marks(order_ids, token, done)
        self._note_marks()

    def _note_marks(self) -> None:
        self._has_none.clear()
        self._has_marks.set()

    async def on_stop(self) -> None:
        """Wait up to `FLUSH_S` seconds until all marks are written, and log how many are not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._has_none.wait()
        unmarked = self._waiting_ids + sum(len(mark.order_ids) for mark in self._marks_of_openings.values())
        if unmarked:
            log.warning(
                "%d emitted orders could not be marked as emitted in Redis; their locks remain claimed", unmarked
            )

    async def on_shutdown(self) -> None:
        """Close the connections to Redis."""
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
        """Return the marks of an opening, or else the oldest queue entries that fit into one call, but at least one."""
        if self._marks_of_openings:
            return [next(iter(self._marks_of_openings.values()))]
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
            log.warning(
                "order %r was emitted twice: another application had already marked it as emitted", order_id.decode()
            )

    def _marks_written(self, marks: list[_Marks]) -> None:
        for mark in marks:
            if self._marks and self._marks[0] is mark:
                self._marks.popleft()
                self._waiting_ids -= len(mark.order_ids)
            elif self._marks_of_openings.get(mark.token) is mark:  # otherwise a later opening has replaced them
                del self._marks_of_openings[mark.token]
            self.counts["marks"] += len(mark.order_ids)
            mark.done()
        if not (self._marks or self._marks_of_openings):
            self._has_marks.clear()
            self._has_none.set()


class NoGuard:
    """A guard that is switched off: it grants every claim and stores no locks."""

    away_since: float | None = None

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    async def claim(self, claims: Sequence[Claim], token: str) -> Sequence[Answer]:
        """Grant every claim."""
        return [Answer.ACQUIRED] * len(claims)

    def mark_emitted(self, order_ids: Sequence[str], token: str, done: Callable[[], None]) -> None:
        """Call `done` at once, because there are no locks to mark."""
        done()

    mark_emitted_before = mark_emitted
