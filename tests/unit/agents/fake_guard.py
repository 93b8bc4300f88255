"""A guard in memory, with the answers of the real one; several can share their locks as deployments share Redis."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

from agents.guard.guard import Answer, Claim, WhenAway
from agents.guard.locks import app_of


class FakeGuard:
    """Locks in a dictionary, by order id; marks are written at once, or when `write_marks` is called.

    Attributes:
        locks: the values, as they would lie in Redis.
        claimed: every call of `claim`, in turn.
        away_since: set by `go_away`, None after `come_back`.
    """

    def __init__(
        self,
        locks: dict[str, str] | None = None,
        *,
        when_away: WhenAway = WhenAway.WAIT,
        marks_at_once: bool = True,
    ) -> None:
        self.locks = {} if locks is None else locks
        self.claimed: list[tuple[list[Claim], str]] = []
        self.counts: Counter[str] = Counter()
        self.away_since: float | None = None
        self._when_away = when_away
        self._marks_at_once = marks_at_once
        self._marks: list[tuple[Sequence[str], str, Callable[[], None]]] = []
        self._is_there = asyncio.Event()
        self._is_there.set()

    def go_away(self) -> None:
        """From now on no answers."""
        self.away_since = time.time()
        self._is_there.clear()

    def come_back(self) -> None:
        """Answer again; marks that waited are written."""
        self.away_since = None
        self._is_there.set()
        if self._marks_at_once:
            self.write_marks()

    async def claim(self, claims: Sequence[Claim], token: str) -> Sequence[Answer]:
        """Claim orders; waits while away, or answers `UNAVAILABLE`, as it was told."""
        self.claimed.append((list(claims), token))
        if self.away_since is not None and self._when_away is WhenAway.GO_ON:
            answers = [Answer.HELD if claim.was_denied else Answer.UNAVAILABLE for claim in claims]
        else:
            await self._is_there.wait()
            answers = [self._claim(claim, token) for claim in claims]
        self.counts.update(answer.name.lower() for answer in answers)
        return answers

    def mark_emitted(self, order_ids: Sequence[str], token: str, done: Callable[[], None]) -> None:
        """Mark orders, now or later."""
        self._marks.append((order_ids, token, done))
        if self._marks_at_once and self.away_since is None:
            self.write_marks()

    mark_emitted_before = mark_emitted

    def write_marks(self) -> None:
        """Write the marks that wait."""
        marks, self._marks = self._marks, []
        for order_ids, token, done in marks:
            for order_id in order_ids:
                found = self.locks.get(order_id, "")
                if found.startswith("emitted:") and not found.startswith(f"emitted:{app_of(token)}:"):
                    self.counts["emitted_twice"] += 1
                else:
                    self.locks[order_id] = f"emitted:{token}"
            self.counts["marks"] += len(order_ids)
            done()

    def _claim(self, claim: Claim, token: str) -> Answer:
        found = self.locks.get(claim.order_id)
        if found == f"claimed:{token}":
            return Answer.MINE
        if found == "released" or (found is None and not claim.was_denied):
            self.locks[claim.order_id] = f"claimed:{token}"
            return Answer.ACQUIRED
        if found is not None and found.startswith("emitted:"):
            ours = found.startswith(f"emitted:{app_of(token)}:")
            return Answer.EMITTED_BY_US if ours else Answer.EMITTED_ELSEWHERE
        return Answer.HELD
