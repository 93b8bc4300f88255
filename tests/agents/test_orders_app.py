"""Goal: the agents of `streams.orders` do with a batch what the application promises.

Method: `agent.test_context()` with a stand-in partition; no server. Records are bytes as Debezium writes them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from agents.completion import OrderCompletion
from streams import orders as application
from streams.model.order import PaymentMethod
from streams.runtime.testing import StandIn
from tests.builders import detail_change, order_change
from tests.fakes import KnownPaymentMethods

ORDERS = "mysql.project_db.orders"
DETAILS = "mysql.project_db.order_details"
ID = "0f1e2d3c-0000-4000-8000-000000000001"


@pytest.fixture
def stand_in() -> StandIn:
    completion = OrderCompletion(
        payment_methods=KnownPaymentMethods(PaymentMethod(4, "Visa", "First Bank")),
        payment_method_wait_s=0.0,
        app_id="test",
    )
    return StandIn(application.app, flow=completion)


class Agents:
    """Both agents in their test contexts, fed in the order a test says."""

    def __init__(self, stand_in: StandIn, order: Any, details: Any) -> None:
        self._stand_in, self._order, self._details = stand_in, order, details

    async def orders(self, *records: tuple[bytes | None, bytes | None]) -> None:
        await self._order.put(self._stand_in.batch(ORDERS, records))

    async def details(self, *records: tuple[bytes | None, bytes | None]) -> None:
        await self._details.put(self._stand_in.batch(DETAILS, records))


async def _agents(stand_in: StandIn) -> AsyncIterator[Agents]:
    async with application.order.test_context() as order, application.details.test_context() as details:
        yield Agents(stand_in, order, details)


def _final(stand_in: StandIn) -> list[Any]:
    return [msgspec.json.decode(record.value or b"") for record in stand_in.written("order_final")]
