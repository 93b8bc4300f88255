"""Goal: deployments that share topics and Redis emit each order once between them, even when one is killed.

Method: real workers under several application ids. Orders come from a live shop with its database, or are written to
the change topics by the test; what is emitted is read back, committed records only. Limits are for liveness only.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import requests
from aiokafka.partitioner import murmur2

from agents.guard.locks import DATABASE, lock_key, order_id_of
from config.settings import KafkaSettings, RedisSettings
from demo.workers import Worker
from ops.claims import emitted_among
from ops.topics import apply_topics
from stack.local import Stack
from streams.topics import ORDER_AMENDED, ORDER_FINAL, catalogue
from tests.streams.orders.deployments import (
    PARTITIONS,
    Deployment,
    FedShop,
    incomplete_of,
    locks,
    locks_of,
    metric,
    stats_of,
)
from tests.streams.orders.live_shop import Shop, new_id
from tests.streams.orders.test_workers import assert_exactly_once, live_shop, share
from tests.support.builders import deleted, detail_row, order_row
from tests.support.server_waiting import until

KILLS = 4
SEED = 21
HELD = "held_by_another_deployment"


def held(worker: Worker) -> int:
    """Number of orders that wait for another deployment's lock."""
    number: int = incomplete_of(worker, 0)["by_reason"][HELD]
    return number


def counts(worker: Worker, part: str = "orders") -> Counter[str]:
    """Totals of a part of a worker."""
    return Counter(stats_of(worker)[part])


# -- two at a time ----------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_two_deployments_emit_each_order_once_between_them_whoever_is_killed(
    pipeline: Stack, shop: Shop, tmp_path: Path
) -> None:
    environment, draw = pipeline.environment(), random.Random(SEED)  # noqa: S311 - no secret
    pair = [Deployment(app_id, environment, tmp_path) for app_id in ("millrace-orders", "second")]
    for deployment in pair:
        specs = catalogue(dataset="project_db", app_id=deployment.app_id, order_partitions=4)
        apply_topics(KafkaSettings.read(environment), specs)
    with ended(pair):
        workers = [deployment.worker() for deployment in pair]
        kill_at_random(shop, workers, draw)
        assert_exactly_once(shop)
        until(lambda: [held(worker) for worker in workers] == [0, 0], "nothing is held any more")
        # A claim may stand on an order that is not complete: its worker died after it, and read the two topics in
        # another order the second time. None stands on an order that is out.
        kafka = KafkaSettings.read(environment)
        until(lambda: not emitted_among(kafka, claimed_orders(environment)), "all that are out are marked")
        assert all(locks_of(environment, deployment.app_id)[1] > 0 for deployment in pair)
        prevented = [counts(worker)["duplicates_prevented"] for worker in workers]
        assert sum(prevented) > 0
        assert [metric(w, "millrace_orders_total", event="duplicates_prevented") for w in workers] == prevented


def kill_at_random(shop: Shop, workers: list[Worker], draw: random.Random) -> None:
    """Kills under load; returns when each worker serves all partitions again and emits."""
    with live_shop(shop, seed=SEED):
        for _ in range(KILLS):
            time.sleep(draw.uniform(0.5, 2.5))
            victim = draw.choice(workers)
            victim.kill()
            time.sleep(draw.uniform(0.2, 1.5))
            victim.start()
        until(lambda: share(workers) == [4, 4], "each serves all partitions of its own")
        before = [counts(worker)["completed"] for worker in workers]
        until(
            lambda: all(counts(w)["completed"] > was for w, was in zip(workers, before, strict=True)),
            "each emits some",
        )


@contextmanager
def ended(pair: list[Deployment]) -> Iterator[None]:
    """End the workers also when the test fails: none stays in the group of another test."""
    try:
        yield
    except BaseException:
        for worker in [worker for deployment in pair for worker in deployment.workers]:
            worker.stop()
        raise
    for deployment in pair:
        deployment.stop()


def claimed_orders(environment: Mapping[str, str]) -> list[str]:
    """The orders with a claim that became no mark."""
    with redis.Redis.from_url(RedisSettings.read(environment).url, db=DATABASE, decode_responses=True) as client:
        keys = list(client.scan_iter(lock_key("*"), count=1_000))
        return [
            order_id_of(k)
            for k, v in zip(keys, client.mget(keys) if keys else [], strict=True)
            if v.startswith("claimed:")
        ]


# -- one that does not come back --------------------------------------------------------------------------------------


def id_in(partition: int) -> str:
    """A new order id that hashes to a partition."""
    return next(id_ for id_ in iter(new_id, "") if murmur2(id_.encode()) % PARTITIONS == partition)


class Claimed:
    """Two orders that a deployment has claimed and will not emit: it was killed while they waited for a payment method.

    Attributes:
        by: the application that has claimed them.
    """

    def __init__(self, fed: FedShop) -> None:
        deployment = fed.deployment(PAYMENT_METHOD_WAIT_S="60")
        self.by = deployment.app_id
        self.worker = deployment.worker()
        # In different partitions: one would take its second order only after the wait for the first.
        self.ids = [fed.order(payment_method_id=999, order_id=id_in(partition)) for partition in (0, 1)]
        until(lambda: all((fed.lock(id_) or "").startswith(f"claimed:{self.by}:") for id_ in self.ids), "both claimed")


@pytest.fixture
def claimed(fed: FedShop) -> Claimed:
    """The claims, while their owner still lives."""
    return Claimed(fed)


def successor(fed: FedShop) -> Deployment:
    return fed.deployment(PAYMENT_METHOD_WAIT_S="0", ORDER_LOG="true")


def release_when_the_group_knows(fed: FedShop, app_id: str) -> str:
    """Release an application's claims as soon as its killed workers count as gone; what the command said."""
    until(lambda: locks(fed.environment, "release", "--app", app_id, "--dry-run").returncode == 0, "Kafka answers")
    said: list[str] = []

    def released() -> bool:
        result = locks(fed.environment, "release", "--app", app_id)
        said.append(result.stdout)
        return result.returncode == 0

    until(released, "the group has noticed that its worker is gone")
    return said[-1]


def test_claims_of_a_deployment_that_runs_are_not_released(fed: FedShop, claimed: Claimed) -> None:
    for what in (("--app", claimed.by), ("--order", claimed.ids[0])):
        refused = locks(fed.environment, "release", *what)
        assert refused.returncode == 1
        assert f"workers of {claimed.by} are still running (1)" in refused.stderr
    assert locks_of(fed.environment, claimed.by) == (2, 0)
    forced = locks(fed.environment, "release", "--order", claimed.ids[0], "--force")
    assert (forced.returncode, forced.stdout) == (0, "1 claim released\n")
    assert fed.lock(claimed.ids[0]) == "released"
    claimed.worker.kill()


def test_what_a_dead_deployment_has_claimed_is_held_and_goes_out_once_after_a_release(
    fed: FedShop, claimed: Claimed
) -> None:
    claimed.worker.kill()
    own = fed.order()
    deployment = successor(fed)
    worker = deployment.worker()
    until(lambda: held(worker) == 2, "both are held")
    until(lambda: incomplete_of(worker)["count"] == 2, "the own order is complete")
    listed = {order["order_id"]: order for order in incomplete_of(worker)["orders"]}
    assert listed.keys() == set(claimed.ids)
    assert {order["reason"] for order in listed.values()} == {HELD}
    assert {(order["num_products"], order["products_present"]) for order in listed.values()} == {(1, 1)}
    for id_ in claimed.ids:
        view = requests.get(f"{worker.url}/orders/{id_}/", timeout=10).json()
        assert (view["status"], view["emitted"], view["held"]) == ("complete", False, True)
        assert f"[DUPLICATE_PREVENTED] order {id_!r}: held" in worker.log.read_text()
    assert metric(worker, "millrace_orders_incomplete", reason=HELD) == 2
    assert metric(worker, "millrace_orders_incomplete_oldest_seconds", reason=HELD) > 0
    assert counts(worker)["duplicates_prevented"] == 2
    assert worker.stop()
    worker.start()
    worker.wait_ready()
    asked_again(worker)
    assert held(worker) == 2
    assert counts(worker)["duplicates_prevented"] == 0, "each counts once, a restart is no news"
    until(lambda: fed.emitted() == {own: 1}, "what nobody claimed goes out, and nothing else")
    assert release_when_the_group_knows(fed, claimed.by) == "2 claims released\n"
    fed.wait_emitted()
    until(lambda: held(worker) == 0, "nothing is held any more")
    until(lambda: locks_of(fed.environment, deployment.app_id) == (0, 3), "all are marked by the successor")
    assert fed.tail.of(ORDER_AMENDED, claimed.ids[0]) == []


def asked_again(worker: Worker) -> None:
    """Wait until the held orders were asked for twice more."""
    before = counts(worker, "guard")["held"]
    until(lambda: counts(worker, "guard")["held"] >= before + 4, "the guard is asked again")


def test_a_claim_that_merely_vanishes_is_no_permission(fed: FedShop, claimed: Claimed) -> None:
    claimed.worker.kill()
    worker = successor(fed).worker()
    until(lambda: held(worker) == 2, "both are held")
    with fed.redis() as client:
        client.delete(*map(lock_key, claimed.ids))
    asked_again(worker)
    assert fed.emitted() == {}
    assert [fed.lock(id_) for id_ in claimed.ids] == [None, None], "nothing is claimed in passing"


def test_held_orders_take_in_changes_and_a_deletion_ends_the_waiting(fed: FedShop, claimed: Claimed) -> None:
    claimed.worker.kill()
    kept, gone = claimed.ids
    worker = successor(fed).worker()
    until(lambda: held(worker) == 2, "both are held")
    fed.write("order_details", kept, detail_row(kept, 1, 9))
    fed.write("orders", gone, order_row(gone, num_products=1), op=deleted)
    fed.complete.remove(gone)
    until(lambda: held(worker) == 1, "the deleted order is not held any more")
    release_when_the_group_knows(fed, claimed.by)
    fed.wait_emitted()
    [record] = fed.tail.of(ORDER_FINAL, kept)
    assert record.value["products"] == [{"product_id": 1, "quantity": 9}]
    assert fed.tail.of(ORDER_FINAL, gone) == []


# -- a state that was rebuilt -------------------------------------------------------------------------------------


@pytest.mark.parametrize("disk", ["the same disk", pytest.param("an empty disk", marks=pytest.mark.nightly)])
def test_an_application_whose_state_was_lost_amends_and_never_emits_again(fed: FedShop, disk: str) -> None:
    deployment = fed.deployment()
    worker = deployment.worker()
    before = fed.orders(300)
    waiting = fed.order(num_products=2)
    fed.wait_emitted()
    until(lambda: locks_of(fed.environment, deployment.app_id) == (0, 300), "all are marked")
    deployment.stop()
    fed.lose_state(deployment.app_id)
    if disk == "the same disk":
        worker.start()
        worker.wait_ready()
    else:
        worker = deployment.worker(STATE_DIR=str(fed.new_folder()))
    until(lambda: counts(worker, "guard")["emitted_by_us"] == 300, "every order was asked for")
    fed.write("order_details", before[0], detail_row(before[0], 101, 7))
    fed.write("order_details", waiting, detail_row(waiting, 2))
    fed.complete.append(waiting)
    fed.orders(100)
    fed.wait_emitted()
    restated, changed = (record.value for record in fed.tail.wait(ORDER_AMENDED, before[0], count=2))
    assert (restated["revision"], restated["products"]) == (1, [{"product_id": 101, "quantity": 1}])
    assert (changed["revision"], changed["products"]) == (2, [{"product_id": 101, "quantity": 7}])
    until(lambda: counts(worker)["completed"] == 101, "only those of after the loss are completed")
    assert counts(worker)["duplicates_prevented"] == 300
    assert counts(worker, "guard")["emitted_by_us"] == 300


@pytest.mark.nightly  # a lost state is amended on every push
def test_a_successor_under_another_name_leaves_what_went_out_before_it_alone(fed: FedShop) -> None:
    first = fed.deployment()
    first.worker()
    before = fed.orders(300)
    waiting = fed.order(num_products=2)
    fed.wait_emitted()
    until(lambda: locks_of(fed.environment, first.app_id) == (0, 300), "all are marked")
    first.stop()
    worker = fed.deployment().worker()
    until(lambda: counts(worker, "guard")["emitted_elsewhere"] == 300, "every order was asked for")
    fed.write("order_details", before[0], detail_row(before[0], 101, 7))
    fed.write("order_details", waiting, detail_row(waiting, 2))
    fed.complete.append(waiting)
    fed.orders(100)
    fed.wait_emitted()
    until(lambda: stats_of(worker).get("left") == 1, "the change is left to whoever emitted the order")
    until(lambda: counts(worker)["completed"] == 101, "only the new ones are completed")
    assert fed.tail.of(ORDER_AMENDED, before[0]) == []
    assert counts(worker, "guard")["emitted_elsewhere"] == 300
    view = requests.get(f"{worker.url}/orders/{before[0]}/", timeout=10).json()
    assert (view["emission"], view["emitted"], view["held"]) == ("elsewhere", False, False)
    assert incomplete_of(worker)["count"] == 0
