"""The agents of `streams.orders` in their test contexts, with a stand-in partition, and the records they are fed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from agents.completion import OrderCompletion
from agents.guard.guard import Guard, NoGuard
from agents.order_log import OrderLog
from agents.order_timers import OrderTimers
from streams import orders as application
from streams.model.published import PaymentMethod
from streams.runtime.testing import StandIn
from tables.order_cache import NoCache
from tables.order_events import OrderEvents
from tests.support.builders import COMMITTED_MS, created, detail_row, order_row, position
from tests.support.fakes import KnownPaymentMethods
from tests.unit.agents.deployment import impatient

ORDERS: Final = "mysql.project_db.orders"
DETAILS: Final = "mysql.project_db.order_details"
KEY: Final = b"order-1"

Record = tuple[bytes | None, bytes | None]


class Agents:
    """Both agents in their test contexts, fed in the order a test says."""

    def __init__(self, stand_in: StandIn, order: Any, details: Any) -> None:
        self.stand_in = stand_in
        self._order, self._details = order, details

    async def orders(self, *records: Record) -> None:
        """A batch of changes of order rows."""
        await self._order.put(self.stand_in.batch(ORDERS, records))

    async def details(self, *records: Record) -> None:
        """A batch of changes of product lines."""
        await self._details.put(self.stand_in.batch(DETAILS, records))

    def published(self, topic: str) -> list[Any]:
        """The decoded values written to a topic."""
        return [msgspec.json.decode(record.value or b"") for record in self.stand_in.written(topic)]


@asynccontextmanager
async def agents_with(
    *,
    guard: Guard | None = None,
    incomplete_after_s: float = 0,
    retention_s: float = 0,
    events: OrderEvents | None = None,
) -> AsyncIterator[Agents]:
    """The agents with an order completion that has these settings."""
    completion = OrderCompletion(
        payment_methods=KnownPaymentMethods(PaymentMethod(3, "Visa", "First Bank")),
        payment_method_wait_s=0.0,
        guard=NoGuard() if guard is None else guard,
        cache=NoCache(),
        timers=OrderTimers(incomplete_after_s=incomplete_after_s, retention_s=retention_s, clock=impatient()),
        order_log=OrderLog(enabled=False),
        app_id="test",
        events=events,
    )
    stand_in = StandIn(application.app, processor=completion)
    async with application.order.test_context() as order, application.details.test_context() as details:
        yield Agents(stand_in, order, details)


def order_at(pos: int, *, at_ms: int = COMMITTED_MS, **columns: Any) -> Record:
    """An insert of the order row."""
    return KEY, created(order_row("order-1", **columns), at=position(pos), at_ms=at_ms)


def line_at(pos: int, product_id: int, *, at_ms: int = COMMITTED_MS) -> Record:
    """An insert of a product line."""
    return KEY, created(detail_row("order-1", product_id), at=position(pos), at_ms=at_ms)
