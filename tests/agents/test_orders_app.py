"""Goal: the agents of `streams.orders` do with a batch what the application promises.

Method: `agent.test_context()` with a stand-in partition; no server. Records are bytes as Debezium writes them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from streams import orders as application
from streams.model.order import fold_order_detail
from tests.agents.feeding import DETAILS, KEY, ORDERS, Agents, agents_with, line_at, order_at
from tests.support.builders import deleted, order_row, position, updated


@pytest.fixture
async def agents() -> AsyncIterator[Agents]:
    async with agents_with() as agents:
        yield agents


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
        await agents.stand_in.batch(DETAILS, [line_at(2, 101)]).submit(fold_order_detail)
    assert agents.published("order_final") == []
    await agents.details(line_at(2, 101))
    assert len(agents.published("order_final")) == 1


def test_the_application_declares_its_table_and_agents() -> None:
    assert list(application.app.tables) == ["order_state"]
    assert sorted(agent.name for agent in application.app.agents.values()) == ["order", "order_details"]
    assert [pipeline.sources for pipeline in application.app.pipelines] == [(ORDERS, DETAILS)]


def test_the_state_table_refuses_to_be_written_outside_a_turn() -> None:
    with pytest.raises(TypeError, match="order_state"):
        application.state["order-1"] = None


def test_the_table_hashes_a_key_as_the_web_router_does() -> None:
    table = application.state
    routed = table.changelog_topic.prepare_key("0f1e2d3c", None)[0]
    assert routed == b"0f1e2d3c"
    # As murmur2 has it in the Java client: `Utils.toPositive(Utils.murmur2(key)) % 4`.
    found = [table.stores.partition_of(key) for key in (b"0f1e2d3c", b"a", b"order-1", b"")]
    assert found == [2, 0, 2, 1]


def test_a_request_outlasts_a_rebalance_but_not_by_much() -> None:
    conf = application.app.conf
    assert conf.broker_session_timeout <= conf.broker_rebalance_timeout < conf.broker_request_timeout
    assert conf.broker_request_timeout <= conf.broker_rebalance_timeout + 5, "a lost request would stall the worker"
    assert application.app.kafka_client["request_timeout_ms"] == conf.broker_request_timeout * 1000
