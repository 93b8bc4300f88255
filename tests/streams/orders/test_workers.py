"""Goal: workers share the partitions, and no order is lost or repeated when one of them dies, hangs or leaves.

Method: real servers, a live shop as load, real processes that are killed; the oracle recomputes the complete orders
from the database. Limits are for liveness only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.definition import OrdersGenerator
from demo.workers import Worker
from ops.database import connected
from ops.dataset.shop import Details
from ops.dataset.simulate import simulate
from ops.dataset.simulation import Simulation
from stack.local import Stack
from stack.ports import free_ports
from streams.topics import ORDER_FINAL
from tests.streams.orders.live_shop import Shop, line, new_id, order
from tests.support.background import in_background
from tests.support.server_waiting import until

RATE_PER_S = 150.0


@pytest.fixture
def workers(pipeline: Stack, tmp_path: Path) -> Iterator[list[Worker]]:
    """Two workers that are ready and share the partitions."""
    ports = free_ports(["one", "two"]).values()
    workers = [Worker(web_port=port, environment=pipeline.environment(), folder=tmp_path) for port in ports]
    try:
        for worker in workers:
            worker.start()
        until(lambda: share(workers) == [2, 2], "two partitions each")
        yield workers
    finally:
        for worker in workers:
            worker.stop()


def share(workers: list[Worker]) -> list[int]:
    """Number of partitions that each worker processes."""
    stats = [worker.stats() if worker.is_running() else None for worker in workers]
    return [
        sum(p["state"] == "running" for p in s["partitions"].values()) if s is not None and s["ready"] else 0
        for s in stats
    ]


@contextmanager
def live_shop(shop: Shop, seed: int) -> Iterator[None]:
    """A shop that inserts, changes and deletes orders all the while."""
    print(f"seed {seed}")
    generator = load_definition("project_db").generator
    assert isinstance(generator, OrdersGenerator)
    simulation = Simulation(
        insert_p=0.7, update_p=0.2, delete_p=0.1, rate_per_s=RATE_PER_S, details=Details.MIXED, seed=seed, salt=new_id()
    )

    def run(stop: threading.Event) -> None:
        with connected(DatabaseSettings.read(shop.environment), "project_db") as connection:
            simulate(connection, generator, simulation, stop=stop)

    with in_background(run, "live-shop"):
        yield


def assert_exactly_once(shop: Shop) -> None:
    """Ask the oracle."""
    verdict = shop.verdict()
    assert verdict.passed, verdict.figures()


@pytest.mark.nightly
def test_a_worker_killed_under_load_loses_and_repeats_nothing(shop: Shop, workers: list[Worker]) -> None:
    with live_shop(shop, seed=11):
        for victim, survivor in [workers, workers[::-1]]:
            time.sleep(2.0)
            victim.kill()
            until(lambda w=survivor: share([w]) == [4], "the survivor serves all partitions")  # type: ignore[misc]
            victim.start()
            until(lambda: share(workers) == [2, 2], "two partitions each again")
    assert_exactly_once(shop)


def test_a_worker_that_slept_through_its_session_does_no_harm(shop: Shop, workers: list[Worker]) -> None:
    sleeper, other = workers
    with live_shop(shop, seed=12):
        time.sleep(1.0)
        sleeper.pause()
        until(lambda: share([other]) == [4], "the other worker serves all partitions")
        sleeper.resume()
        until(lambda: share(workers) == [2, 2], "two partitions each again")
    assert_exactly_once(shop)


def test_a_worker_that_is_asked_to_stop_hands_over_at_once(shop: Shop, workers: list[Worker]) -> None:
    leaver, stayer = workers
    with live_shop(shop, seed=13):
        time.sleep(1.0)
        assert leaver.stop(), "it ends by itself"
        until(lambda: share([stayer]) == [4], "the other worker serves all partitions")
    assert_exactly_once(shop)


def test_an_empty_disk_is_restored_from_the_changelog(shop: Shop, pipeline: Stack, tmp_path: Path) -> None:
    id_ = new_id()
    [port] = free_ports(["worker"]).values()
    first = Worker(web_port=port, environment=pipeline.environment(), folder=tmp_path / "a")
    first.start()
    first.wait_ready()
    shop.transaction(order(id_, 2), line(id_, 1))
    until(lambda: requests.get(f"{first.url}/orders/{id_}/", timeout=5).status_code == 200, "the order is known")
    assert first.stop()

    second = Worker(web_port=port, environment=pipeline.environment(), folder=tmp_path / "b")
    second.start()
    second.wait_ready()
    stats = second.stats()
    assert stats is not None
    assert stats["restored_records"] > 1_000
    shop.transaction(line(id_, 2))
    assert len(shop.tail.wait(ORDER_FINAL, id_)) == 1
    assert second.stop()

    second.start()
    second.wait_ready()
    stats = second.stats()
    assert stats is not None
    assert stats["restored_records"] == 0, "its own disk is up to date, trailing transaction markers or not"
    assert second.stop()


def test_any_worker_answers_for_every_order(shop: Shop, workers: list[Worker]) -> None:
    ids = [new_id() for _ in range(8)]
    for id_ in ids:
        shop.transaction(order(id_, 1), line(id_, 5, 3))
        shop.tail.wait(ORDER_FINAL, id_)
    for worker in workers:
        for id_ in ids:
            answer = requests.get(f"{worker.url}/orders/{id_}/", timeout=10)
            assert answer.status_code == 200, answer.text
            assert answer.json()["status"] == "complete"
            assert answer.json()["emitted"] is True
            assert answer.json()["products"] == [{"product_id": 5, "quantity": 3}]


def test_the_web_views_show_no_more_than_they_should(workers: list[Worker]) -> None:
    base = workers[0].url
    assert requests.get(f"{base}/orders/{new_id()}/", timeout=10).status_code == 404
    assert requests.get(f"{base}/table/order_state/x/", timeout=10).status_code == 404
    assert requests.get(f"{base}/table/", timeout=10).status_code == 404


def test_two_workers_cannot_share_a_data_folder(pipeline: Stack, workers: list[Worker], tmp_path: Path) -> None:
    [port] = free_ports(["third"]).values()
    environment = {
        **pipeline.environment(),
        "F_DATADIR": str(tmp_path / "state" / f"millrace-orders-{workers[0].web_port}"),
    }
    third = Worker(web_port=port, environment=environment, folder=tmp_path / "third")
    third.start()
    until(lambda: not third.is_running(), "the third worker gives up")
    assert "is in use by another worker" in third.log.read_text()
