"""Goal: what time and other deployments bring about is as the application promises: reports, held orders, forgetting.

Method: as in `test_orders_app.py`, with timers fired at source times of the test's choice.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agents.guard.locks import token_of
from streams import orders as application
from streams.model.order import is_forgotten
from streams.runtime.testing import MemoryPartition
from tables.order_state import FORGETTING_CODEC
from tests.agents.feeding import KEY, agents_with, line_at, order_at
from tests.support.builders import (
    COMMITTED_MS,
    created,
    deleted,
    detail_row,
    order_row,
    position,
    snapshot_read,
    updated,
)
from tests.unit.agents.fake_guard import FakeGuard

HOUR_MS = 3_600_000
MINE = token_of("test", MemoryPartition.incarnation)
OTHERS = token_of("others", "2" * 32)


def time_of(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


async def test_an_incomplete_order_is_reported_once_when_the_source_is_late_enough() -> None:
    async with agents_with(incomplete_after_s=3_600) as agents:
        await agents.orders(order_at(1, num_products=2))
        await agents.details(line_at(2, 101, at_ms=COMMITTED_MS + 60_000))
        await agents.stand_in.fire_timers(COMMITTED_MS + HOUR_MS - 1)
        assert agents.published("order_incomplete") == []
        for _ in range(3):
            await agents.stand_in.fire_timers(COMMITTED_MS + HOUR_MS)
        assert agents.published("order_incomplete") == [
            {
                "order_id": "order-1",
                "reason": "products_missing",
                "num_products": 2,
                "products_present": 1,
                "first_seen_at": time_of(COMMITTED_MS),
                "reported_at": time_of(COMMITTED_MS + HOUR_MS),
            }
        ]
        assert agents.stand_in.written("order_incomplete")[0].key == KEY


async def test_a_reported_order_is_still_published_when_it_is_complete() -> None:
    async with agents_with(incomplete_after_s=3_600) as agents:
        await agents.details(line_at(2, 101))
        await agents.stand_in.fire_timers(COMMITTED_MS + HOUR_MS)
        assert [report["reason"] for report in agents.published("order_incomplete")] == ["no_order_row"]
        await agents.orders(order_at(1, num_products=1))
        assert len(agents.published("order_final")) == 1
        await agents.stand_in.fire_timers(COMMITTED_MS + 9 * HOUR_MS)
        assert len(agents.published("order_incomplete")) == 1


async def test_a_report_whose_transaction_failed_is_made_again() -> None:
    async with agents_with(incomplete_after_s=3_600) as agents:
        await agents.orders(order_at(1))
        agents.stand_in.fail_next = ConnectionError("the transaction failed")
        with pytest.raises(ConnectionError):
            await agents.stand_in.fire_timers(COMMITTED_MS + HOUR_MS)
        await agents.stand_in.fire_timers(COMMITTED_MS + HOUR_MS)
        assert len(agents.published("order_incomplete")) == 1


async def test_an_order_that_another_deployment_holds_goes_out_after_its_release() -> None:
    guard = FakeGuard({"order-1": f"claimed:{OTHERS}"})
    async with agents_with(guard=guard) as agents:
        await agents.details(line_at(2, 101))
        await agents.orders(order_at(1, num_products=1))
        await agents.stand_in.fire_timers(COMMITTED_MS)
        assert agents.stand_in.records == []
        guard.locks["order-1"] = "released"
        for _ in range(3):
            await agents.stand_in.fire_timers(COMMITTED_MS)
        assert len(agents.published("order_final")) == 1
        assert guard.locks == {"order-1": f"emitted:{MINE}"}


async def test_an_order_that_another_deployment_has_emitted_stays_with_it() -> None:
    guard = FakeGuard({"order-1": f"emitted:{OTHERS}"})
    async with agents_with(guard=guard, incomplete_after_s=3_600) as agents:
        await agents.details(line_at(2, 101))
        await agents.orders(order_at(1, num_products=1))
        before = order_row("order-1", num_products=1)
        await agents.orders((KEY, updated(before, before | {"customer_id": 99}, at=position(3))))
        await agents.stand_in.fire_timers(COMMITTED_MS + 9 * HOUR_MS)
        assert agents.stand_in.records == []
        assert agents.stand_in.counts["left"] == 1


async def test_changes_of_a_forgotten_order_are_counted_and_publish_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application.state, "codec", FORGETTING_CODEC)
    guard = FakeGuard()
    async with agents_with(guard=guard, retention_s=3_600, incomplete_after_s=3_600) as agents:
        history = [line_at(2, 101), line_at(3, 102, at_ms=COMMITTED_MS + 60_000)]
        await agents.orders(order_at(1, num_products=2))
        await agents.details(*history)
        await agents.stand_in.fire_timers(COMMITTED_MS + HOUR_MS)
        assert not is_forgotten(agents.stand_in.state(KEY)), "its last change is younger than its first"
        await agents.stand_in.fire_timers(COMMITTED_MS + HOUR_MS + 60_000)
        assert is_forgotten(agents.stand_in.state(KEY))
        guard.locks.clear()
        before = order_row("order-1", num_products=2)
        await agents.orders(order_at(1, num_products=2), (KEY, updated(before, before | {"store_id": 9}, position(10))))
        await agents.details(*history, (KEY, snapshot_read(detail_row("order-1", 101), position(11))))
        await agents.stand_in.fire_timers(COMMITTED_MS + 1_000 * HOUR_MS)
        assert [record.topic for record in agents.stand_in.records] == ["order_final"]
        assert agents.stand_in.counts["after_retention"] == 5
        assert guard.locks == {}, "no lock is asked for either"


async def test_an_order_with_a_new_id_is_published_beside_forgotten_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application.state, "codec", FORGETTING_CODEC)
    async with agents_with(retention_s=3_600) as agents:
        await agents.details(line_at(2, 101))
        await agents.orders(order_at(1, num_products=1))
        await agents.stand_in.fire_timers(COMMITTED_MS + 9 * HOUR_MS)
        await agents.details((b"order-0", created(detail_row("order-0", 101), at=position(1))))
        await agents.orders((b"order-0", created(order_row("order-0", num_products=1), at=position(1))))
        assert [order["order_id"] for order in agents.published("order_final")] == ["order-1", "order-0"]


async def test_an_order_that_waits_is_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application.state, "codec", FORGETTING_CODEC)
    async with agents_with(retention_s=3_600) as agents:
        await agents.orders(order_at(1, num_products=1))
        await agents.stand_in.fire_timers(COMMITTED_MS + 1_000 * HOUR_MS)
        await agents.details(line_at(2, 101))
        assert len(agents.published("order_final")) == 1


async def test_a_line_deleted_before_its_order_came_is_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application.state, "codec", FORGETTING_CODEC)
    async with agents_with(retention_s=3_600) as agents:
        await agents.details(line_at(2, 101), (KEY, deleted(detail_row("order-1", 101), at=position(3))))
        await agents.stand_in.fire_timers(COMMITTED_MS + HOUR_MS)
        assert agents.stand_in.state(KEY) is None
