"""Goal: what a stranger does to Kafka, or an outage to the fetching, costs seconds and is seen; it stops no worker.

Method: a real worker on topics that the test writes; the stranger is a producer with a transaction that stays open, or
with the transactional id of a partition. Limits are for liveness only.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from demo.workers import Worker
from ops.shared_ids import named_ids
from streams.runtime.partition.pipeline import transactional_id
from streams.topics import change_topic, order_state_changelog
from tables import order_state
from tests.streams.orders.deployments import PARTITIONS, FedShop, metric, stats_of
from tests.support.server_waiting import LIVENESS_S, until

LONGEST_SESSION_S = 90


def producer(fed: FedShop, name: str, *, timeout_ms: int = 60_000) -> Producer:
    """A producer that has taken over the transactional id `name`."""
    taken = Producer(
        {
            "bootstrap.servers": fed.bootstrap,
            "transactional.id": name,
            "transaction.timeout.ms": timeout_ms,
            "log_level": 2,
        }
    )
    taken.init_transactions(30)
    return taken


def sources(worker: Worker, table: str) -> list[dict[str, Any]]:
    """How far each partition of a change topic is behind."""
    return [figures for place, figures in stats_of(worker)["sources"].items() if f".{table}/" in place]


def lag(worker: Worker) -> int:
    """Orders that are not processed yet."""
    return sum(place["lag"] for place in sources(worker, "orders"))


def test_a_fenced_partition_is_back_as_soon_as_the_group_confirms_its_owner(fed: FedShop) -> None:
    assert 2 * LONGEST_SESSION_S > LIVENESS_S, "nobody waits for the session"
    deployment = fed.deployment()
    worker = deployment.worker(SESSION_TIMEOUT_S=str(LONGEST_SESSION_S))
    for number in range(PARTITIONS):
        producer(fed, transactional_id(deployment.app_id, order_state.NAME, number))
    fed.orders(40)
    fed.wait_emitted()
    assert metric(worker, "millrace_fenced_total") == PARTITIONS
    until(worker.is_ready, "all partitions run again")


@pytest.mark.nightly
def test_workers_go_on_with_another_shared_id_after_theirs_was_ended(fed: FedShop) -> None:
    deployment = fed.deployment()
    worker = deployment.worker(SHARED_TRANSACTIONS="on")

    def names() -> set[str]:
        client = {"bootstrap_servers": fed.bootstrap}
        return asyncio.run(named_ids(client, order_state_changelog(deployment.app_id)))

    until(names, "the worker has named its id")
    fed.orders(40)
    fed.wait_emitted()
    before = names()
    for name in before:
        producer(fed, name)
    fed.orders(40)
    fed.wait_emitted()
    until(lambda: names() > before, "another id is named")
    assert metric(worker, "millrace_fenced_total") == 0, "the partitions' own ids are as they were"
    fed.orders(40)
    fed.wait_emitted()


def test_an_open_transaction_of_a_stranger_is_shown_and_costs_nothing_once_it_ends(fed: FedShop) -> None:
    with pytest.raises(KafkaException) as refused:
        producer(fed, f"{fed.dataset}-for-hours", timeout_ms=90_001)
    assert refused.value.args[0].code() == KafkaError.INVALID_TRANSACTION_TIMEOUT
    worker = fed.deployment().worker()
    stranger = producer(fed, f"{fed.dataset}-stranger")
    stranger.begin_transaction()
    for number in range(PARTITIONS):
        stranger.produce(change_topic(fed.dataset, "orders"), partition=number, key=b"x", value=b"x")
    stranger.flush(30)
    fed.orders(40)
    until(
        lambda: all(place["uncommitted"] > 1 and place["held_up_s"] > 0 for place in sources(worker, "orders")),
        "each partition is held up",
    )
    assert worker.is_ready()
    assert fed.emitted() == {}
    stranger.abort_transaction(30)
    fed.wait_emitted()
    idle = {"lag": 0, "oldest_s": 0.0, "uncommitted": 0, "held_up_s": 0.0}
    until(lambda: sources(worker, "orders") == [idle] * PARTITIONS, "nothing is held up")


@pytest.mark.nightly
def test_the_lag_grows_while_redis_is_away_and_nothing_is_fetched(fed: FedShop) -> None:
    worker = fed.deployment().worker(WAITING_MAX_BYTES="1000")
    fed.stack.pause("redis")
    fed.orders(40)
    until(lambda: stats_of(worker)["away_since"], "the worker waits")
    for least in (200, 400):
        fed.orders(200)
        until(lambda least=least: lag(worker) >= least, f"{least} records wait in Kafka")  # type: ignore[misc]
    fed.stack.resume("redis")
    fed.wait_emitted()
    until(lambda: lag(worker) == 0, "nothing is left to do")
