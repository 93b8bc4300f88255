"""Goal: the agents of `streams.metrics` turn each change into what it adds to the figures.

Method: `agent.test_context()` with a stand-in partition for each pipeline; no server. What they would write to Redis is
kept by the stand-in, in `content`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from streams import metrics as application
from streams.model.figures import Figure
from streams.runtime.testing import StandIn
from tests.support.builders import created, deleted, order_row, snapshot_read, updated

ORDERS = "mysql.project_db.orders"


async def figures(*values: bytes | None) -> tuple[list[Any], StandIn]:
    """What changes of an order add, in one turn."""
    stand_in = StandIn(application.app, pipeline="orders")
    number = [pipeline.name for pipeline in application.app.pipelines].index("orders")
    async with application.agents[number].test_context() as agent:
        await agent.put(stand_in.batch(ORDERS, [(b"order-1", value) for value in values]))
    return [record.content for record in stand_in.written("figures")], stand_in


async def test_changes_of_an_order_add_to_its_minute_and_a_snapshot_to_none() -> None:
    now = datetime.fromtimestamp(time.time(), UTC)
    row, minute, at_ms = order_row(timestamp=now.isoformat()), now.strftime("%Y%m%d%H%M"), int(time.time() * 1000)
    changes = [created(row, at_ms=at_ms), updated(row, row, at_ms=at_ms), deleted(row, at_ms=at_ms), None]
    found, stand_in = await figures(*changes, snapshot_read(row, at_ms=at_ms))
    assert found == [
        Figure("created", at_ms, minute, order="order-1", orders=1),
        Figure("updated", at_ms, minute, order="order-1"),
        Figure("deleted", at_ms, minute, order="order-1", orders=-1),
        Figure("read", at_ms),
    ]
    assert stand_in.counts["folded"] == 4


async def test_a_record_that_cannot_be_counted_is_a_dead_letter() -> None:
    found, stand_in = await figures(b"{", created(order_row(timestamp="never")), created(order_row()))
    assert len(found) == 1
    dead = [dict(record.headers) for record in stand_in.written("dead_letters")]
    assert [headers["offset"] for headers in dead] == [b"0", b"1"]
    assert {headers["app"] for headers in dead} == {b"millrace-metrics"}


def test_every_table_has_a_pipeline_without_a_state() -> None:
    found = [(pipeline.name, pipeline.table) for pipeline in application.app.pipelines]
    assert found == [("payment_method", None), ("orders", None), ("order_details", None), ("customers", None)]
