"""Goal: the agents of `streams.orders` do with a batch what the application promises.

Method: `agent.test_context()` with a stand-in partition; no server. Records are bytes as Debezium writes them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from agents.completion import OrderCompletion
from agents.guard import NoGuard
from agents.order_agenda import OrderAgenda
from agents.order_log import OrderLog
from streams import orders as application
from streams.model.order import fold_order_detail
from streams.model.published import PaymentMethod
from streams.runtime.testing import StandIn
from tables.order_cache import NoCache
from tests.builders import created, deleted, detail_row, order_row, position, updated
from tests.fakes import KnownPaymentMethods

ORDERS = "mysql.project_db.orders"
DETAILS = "mysql.project_db.order_details"
KEY = b"order-1"

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


@pytest.fixture
async def agents() -> AsyncIterator[Agents]:
    completion = OrderCompletion(
        payment_methods=KnownPaymentMethods(PaymentMethod(3, "Visa", "First Bank")),
        payment_method_wait_s=0.0,
        guard=NoGuard(),
        cache=NoCache(),
        agenda=OrderAgenda(incomplete_after_s=0, retention_s=0),
        order_log=OrderLog(enabled=False),
        app_id="test",
    )
    stand_in = StandIn(application.app, flow=completion)
    async with application.order.test_context() as order, application.details.test_context() as details:
        yield Agents(stand_in, order, details)


def order_at(pos: int, **columns: Any) -> Record:
    """An insert of the order row."""
    return KEY, created(order_row("order-1", **columns), at=position(pos))


def line_at(pos: int, product_id: int) -> Record:
    """An insert of a product line."""
    return KEY, created(detail_row("order-1", product_id), at=position(pos))


async def test_an_order_is_published_when_its_last_product_arrives(agents: Agents) -> None:
    await agents.orders(order_at(1, num_products=2))
    await agents.details(line_at(2, 101))
    assert agents.published("order_final") == []
    await agents.details(line_at(3, 102))
    [value] = agents.published("order_final")
    assert value["payment_method"] == {"id": 3, "name": "Visa", "bank": "First Bank"}
    assert [product["product_id"] for product in value["products"]] == [101, 102]
    assert agents.stand_in.written("order_final")[0].key == KEY


async def test_details_first_is_as_good(agents: Agents) -> None:
    await agents.details(line_at(2, 101), line_at(3, 102))
    await agents.orders(order_at(1, num_products=2))
    assert len(agents.published("order_final")) == 1


async def test_a_replay_publishes_nothing_again(agents: Agents) -> None:
    for _ in range(3):
        await agents.orders(order_at(1, num_products=1))
        await agents.details(line_at(2, 101))
    assert len(agents.published("order_final")) == 1
    assert agents.published("order_amended") == []
    assert agents.stand_in.counts["unchanged"] == 4


async def test_a_later_change_is_an_amendment(agents: Agents) -> None:
    await agents.orders(order_at(1, num_products=1))
    await agents.details(line_at(2, 101))
    before = order_row("order-1", num_products=1)
    await agents.orders((KEY, updated(before, before | {"customer_id": 99}, at=position(3))))
    await agents.orders((KEY, deleted(before, at=position(4))))
    assert [(v["revision"], v["status"], v["customer_id"]) for v in agents.published("order_amended")] == [
        (1, "complete", 99),
        (2, "deleted", 11),
    ]


async def test_bad_records_cost_only_themselves(agents: Agents) -> None:
    await agents.orders((KEY, b"{"), order_at(1, num_products=1), (KEY, None), (None, order_at(9)[1]))
    await agents.details(line_at(2, 101))
    assert len(agents.published("order_final")) == 1
    dead = agents.stand_in.written("dead_letters")
    assert [dict(record.headers)["offset"] for record in dead] == [b"0", b"3"]
    assert [dict(record.headers)["topic"] for record in dead] == [ORDERS.encode()] * 2
    assert agents.stand_in.counts["tombstones"] == 1


async def test_a_turn_that_fails_leaves_nothing_behind(agents: Agents) -> None:
    await agents.orders(order_at(1, num_products=1))
    agents.stand_in.fail_next = ConnectionError("the transaction failed")
    with pytest.raises(ConnectionError):
        await agents.stand_in.batch(DETAILS, [line_at(2, 101)]).fold(fold_order_detail)
    assert agents.published("order_final") == []
    await agents.details(line_at(2, 101))
    assert len(agents.published("order_final")) == 1


def test_the_application_declares_its_table_and_agents() -> None:
    assert list(application.app.tables) == ["order_state"]
    assert sorted(agent.name for agent in application.app.agents.values()) == ["order", "order_details"]
    assert [pipeline.sources for pipeline in application.app.pipelines] == [(ORDERS, DETAILS)]


def test_the_state_table_refuses_to_be_written_outside_a_turn() -> None:
    with pytest.raises(TypeError, match="written through its partitions' turns only"):
        application.state["order-1"] = None


def test_the_table_hashes_a_key_as_the_web_router_does() -> None:
    table = application.state
    routed = table.changelog_topic.prepare_key("0f1e2d3c", None)[0]
    assert routed == b"0f1e2d3c"
    # As murmur2 has it in the Java client: `Utils.toPositive(Utils.murmur2(key)) % 4`.
    found = [table.stores.partition_of(key) for key in (b"0f1e2d3c", b"a", b"order-1", b"")]
    assert found == [2, 0, 2, 1]
