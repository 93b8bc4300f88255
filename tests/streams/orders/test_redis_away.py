"""Goal: a Redis that is gone, frozen or forgetful holds orders up, or not, as it was set; none is lost or repeated.

Method: real workers under load, a Redis that is killed with its disk, or stopped; what is emitted is read back,
committed records only. Limits are for liveness only, but for the end of a worker, which is promised.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from agents.guard.locks import lock_key
from demo.workers import Worker
from tests.streams.orders.deployments import FedShop, metric, stats_of
from tests.streams.orders.test_workers import share
from tests.support.server_waiting import until

QUIET_S = 3.0
"""Without an emission so long under load, none is on its way."""


def kill(fed: FedShop) -> None:
    fed.kill_redis_with_its_data()


def freeze(fed: FedShop) -> None:
    fed.stack.pause("redis")


def bring_back(fed: FedShop) -> None:
    fed.stack.resume("redis")
    fed.stack.start("redis")


def is_away(worker: Worker) -> bool:
    """Whether the worker says that the guard has no answer."""
    return "guard" in stats_of(worker)["away_since"]


@pytest.mark.parametrize(
    "away", [pytest.param(kill, marks=pytest.mark.nightly), freeze], ids=["killed with its data", "frozen"]
)
def test_while_redis_is_away_orders_wait_and_then_all_come_out_once(
    fed: FedShop, away: Callable[[FedShop], None]
) -> None:
    worker = fed.deployment().worker()
    with fed.load():
        until(fed.emitted, "orders flow")
        began = time.time()
        away(fed)
        until(lambda: is_away(worker), "the outage is seen")
        fed.tail.poll(1.0)
        emitted, written = len(fed.emitted()), len(fed.complete)
        time.sleep(QUIET_S)
        assert len(fed.emitted()) == emitted
        assert len(fed.complete) > written
        since = stats_of(worker)["away_since"]["guard"]
        assert began - 1 < since < time.time()
        assert metric(worker, "millrace_away_seconds", part="guard") >= QUIET_S - 1
        assert max(place["oldest_s"] for place in stats_of(worker)["sources"].values()) >= QUIET_S - 1
        bring_back(fed)
        until(lambda: not is_away(worker), "Redis is found again")
    fed.wait_emitted()
    assert metric(worker, "millrace_away_seconds", part="guard") == 0
    assert stats_of(worker)["guard"]["away_seconds"] >= QUIET_S - 1
    assert stats_of(worker)["guard"]["unavailable"] == 0


@pytest.mark.parametrize(
    "away", [pytest.param(kill, marks=pytest.mark.nightly), freeze], ids=["killed with its data", "frozen"]
)
def test_a_deployment_that_goes_on_without_redis_emits_unguarded_and_says_how_often(
    fed: FedShop, away: Callable[[FedShop], None]
) -> None:
    worker = fed.deployment(GUARD_WHEN_AWAY="go_on").worker()
    with fed.load():
        until(fed.emitted, "orders flow")
        away(fed)
        until(lambda: is_away(worker), "the outage is seen")
        emitted = len(fed.emitted())
        until(lambda: len(fed.emitted()) > emitted + 50, "orders go out all the same")
        unguarded = stats_of(worker)["guard"]["unavailable"]
        assert unguarded > 0
        assert metric(worker, "millrace_guard_total", event="unavailable") >= unguarded
        bring_back(fed)
        until(lambda: not is_away(worker), "Redis is found again")
    fed.wait_emitted()
    last = fed.complete[-1]
    until(lambda: (fed.lock(last) or "").startswith("emitted:"), "orders are marked again")


@pytest.mark.nightly
@pytest.mark.parametrize("setting", ["wait", "go_on"])
def test_workers_join_and_leave_while_redis_is_frozen(fed: FedShop, setting: str) -> None:
    deployment = fed.deployment(GUARD_WHEN_AWAY=setting)
    first = deployment.worker()
    fed.orders(50)
    fed.wait_emitted()
    freeze(fed)
    with fed.load():
        until(lambda: is_away(first), "the outage is seen")
        second = deployment.worker()
        until(lambda: share([first, second]) == [2, 2], "two partitions each")
        assert first.stop(), "it ends by itself"
        until(lambda: share([second]) == [4], "the other worker serves all partitions")
        assert second.stop(), "it ends by itself"
    bring_back(fed)
    first.start()
    first.wait_ready()
    fed.wait_emitted()


@pytest.mark.nightly  # a frozen worker outlives its locks on every push
def test_a_lock_that_is_kept_too_short_costs_nothing_within_one_application(fed: FedShop) -> None:
    deployment = fed.deployment(LOCK_RETENTION_S="1")
    worker = deployment.worker()
    with fed.load():
        until(fed.emitted, "orders flow")
        for _ in range(2):
            worker.kill()
            worker.start()
            worker.wait_ready()
            time.sleep(1.0)
    first = fed.complete[0]
    until(lambda: fed.lock(first) is None, "the lock has ended")
    fed.replay(first)
    fed.orders(10)
    fed.wait_emitted()


def test_a_frozen_worker_wakes_up_after_its_locks_have_ended_and_emits_nothing_again(fed: FedShop) -> None:
    deployment = fed.deployment(LOCK_RETENTION_S="1")
    sleeper, other = deployment.worker(), deployment.worker()
    until(lambda: share([sleeper, other]) == [2, 2], "two partitions each")
    with fed.load():
        until(fed.emitted, "orders flow")
        sleeper.pause()
        until(lambda: share([other]) == [4], "the other worker serves all partitions")
        sleeper.resume()
        until(lambda: share([sleeper, other]) == [2, 2], "two partitions each again")
    fed.wait_emitted()
    with fed.redis() as client:
        until(lambda: not client.exists(*map(lock_key, fed.complete)), "every lock has ended")
