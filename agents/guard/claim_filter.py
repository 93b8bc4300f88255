"""Filter between order completion and lock guard: claims complete orders, and removes those that are denied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from agents.guard.guard import Answer, Claim, Guard
from agents.guard.locks import token_of
from agents.order_log import OrderLog
from streams.model.order_life import deny, restate
from streams.model.published import AmendedOrder, CompleteOrder
from streams.runtime.partition.turn import Turn
from tables.order_events import OrderEvents

_DENIALS: Final = {Answer.HELD, Answer.EMITTED_ELSEWHERE, Answer.EMITTED_BY_US}


class ClaimFilter:
    """A filter that claims the complete orders of a turn (a micro-batch), and removes those that are denied.

    Attributes:
        counts: `duplicates_prevented`: orders that were not emitted because another deployment, or an earlier state of
            this deployment, had claimed or emitted them; an order counts once, however often it is claimed again.
    """

    def __init__(self, guard: Guard, app_id: str, order_log: OrderLog, events: OrderEvents | None = None) -> None:
        self.counts: Counter[str] = Counter(duplicates_prevented=0)
        self._guard = guard
        self._app_id = app_id
        self._log = order_log
        self._events = events or OrderEvents()

    def token(self, incarnation: str) -> str:
        """Return the token of this application's claims, given the identifier (incarnation) of a partition's state."""
        return token_of(self._app_id, incarnation)

    async def apply(self, turn: Turn, incarnation: str) -> None:
        """Claim the locks of the turn's complete orders, and remove the orders whose claims are denied."""
        claims = [
            Claim(outcome.order_id, turn.states[outcome.order_id.encode()].denied)
            for outcome in turn.outcomes
            if type(outcome) is CompleteOrder
        ]
        if not claims:
            return
        answers = await self._guard.claim(claims, self.token(incarnation))
        self._events.answered([claim.order_id for claim in claims], [answer.name.lower() for answer in answers])
        denied = {c.order_id: answer for c, answer in zip(claims, answers, strict=True) if answer in _DENIALS}
        if denied:
            self._count(denied, {claim.order_id for claim in claims if claim.was_denied})
            self._remove_denied(turn, denied)

    def _count(self, denied: Mapping[str, Answer], known: set[str]) -> None:
        for order_id, answer in denied.items():
            if order_id not in known:
                self.counts["duplicates_prevented"] += 1
                self._log.duplicate_prevented(order_id, answer.name.lower())

    def _remove_denied(self, turn: Turn, denied: Mapping[str, Answer]) -> None:
        """Remove denied orders and their amendments from the turn; amend orders that this application has emitted."""
        kept, caused_at_ms = [], []
        for position, outcome in enumerate(turn.outcomes):
            answer = denied.get(getattr(outcome, "order_id", ""))
            replacement = outcome if answer is None else self._replacement(turn, outcome, answer)
            if replacement is not None:
                kept.append(replacement)
                caused_at_ms += turn.caused_at_ms[position : position + 1]
        turn.outcomes, turn.caused_at_ms = kept, caused_at_ms

    def _replacement(self, turn: Turn, outcome: object, answer: Answer) -> AmendedOrder | None:
        if type(outcome) is not CompleteOrder:
            return None
        key = outcome.order_id.encode()
        state = turn.states[key]
        was_denied = state.denied
        if answer is Answer.EMITTED_BY_US:
            return restate(state, outcome)
        deny(state, emitted_elsewhere=answer is Answer.EMITTED_ELSEWHERE)
        if was_denied and answer is Answer.HELD and key in turn.fired:
            turn.leave(key)
        return None
