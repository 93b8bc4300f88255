"""What happens when the folds say that an order is complete or amended: look up, encode, address.

out: `order_final` (key: order id, value: `CompleteOrder`), `order_amended` (`AmendedOrder`), `dead_letters`
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec

from agents.dead_letters import dead_letter
from streams.model.published import AmendedOrder, CompleteOrder, PaymentMethod
from streams.runtime.batch import OutputRecord, SourceRecord
from streams.topics import DEAD_LETTERS, ORDER_AMENDED, ORDER_FINAL

Emission = CompleteOrder | AmendedOrder

MOST_GIVEN_UP: Final = 1_000
"""So many unknown ids are no late rows but a fault of the source: none is waited for any more."""

_encode = msgspec.json.Encoder().encode
_topic_of: dict[type, str] = {CompleteOrder: ORDER_FINAL, AmendedOrder: ORDER_AMENDED}


class PaymentMethodLookup(Protocol):
    """What the completion needs of the table of payment methods."""

    def get(self, id_: int, /) -> PaymentMethod | None: ...
    async def ready(self) -> None: ...
    async def wait_for(self, ids: set[int], timeout_s: float, /) -> None: ...


class OrderCompletion:
    """The flow of `streams.orders`.

    Attributes:
        counts: `completed`, `amended`, and `payment_methods_unknown`: records that went out without the name.
    """

    def __init__(self, *, payment_methods: PaymentMethodLookup, payment_method_wait_s: float, app_id: str) -> None:
        self.counts: Counter[str] = Counter(completed=0, amended=0, payment_methods_unknown=0)
        self._payment_methods = payment_methods
        self._wait_s = payment_method_wait_s
        self._app_id = app_id
        self._given_up: set[int] = set()

    async def ready(self) -> None:
        """Return once the payment methods are loaded."""
        await self._payment_methods.ready()

    async def publish(self, outcomes: Sequence[Emission], partition: int) -> list[OutputRecord]:
        """Add the payment methods and encode; waits a moment for a payment method that is not known yet."""
        await self._await_payment_methods(outcomes)
        return [self._record(outcome) for outcome in outcomes]

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """Keep a record that could not be processed."""
        return dead_letter(DEAD_LETTERS, record, reason, app_id=self._app_id)

    def committed(self, outcomes: Iterable[Emission]) -> None:
        """Count what has become visible."""
        for outcome in outcomes:
            self.counts["completed" if type(outcome) is CompleteOrder else "amended"] += 1
            method = outcome.payment_method
            if method is not None and method.name is None:
                self.counts["payment_methods_unknown"] += 1

    async def _await_payment_methods(self, outcomes: Sequence[Emission]) -> None:
        get = self._payment_methods.get
        missing = {
            o.payment_method.id for o in outcomes if o.payment_method is not None and get(o.payment_method.id) is None
        }
        missing -= self._given_up  # an id that was waited for in vain does not hold up every batch after it
        if missing and len(self._given_up) < MOST_GIVEN_UP:
            await self._payment_methods.wait_for(missing, self._wait_s)
            self._given_up |= {id_ for id_ in missing if get(id_) is None}

    def _record(self, outcome: Emission) -> OutputRecord:
        method = outcome.payment_method
        if method is not None:
            outcome.payment_method = self._payment_methods.get(method.id) or method
        return OutputRecord(_topic_of[type(outcome)], outcome.order_id.encode(), _encode(outcome))
