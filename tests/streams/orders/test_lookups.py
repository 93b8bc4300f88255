"""Goal: the look-ups in Redis equal the source's rows, also after faults of the workers and of Redis.

Method: real workers of `streams.lookups`; rows come from the database through its connector, or are written to the
change topics by the test, which keeps what they have to come to. Limits are for liveness only.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import pytest
import redis
import requests

from config.database_settings import DatabaseSettings
from config.settings import RedisSettings
from demo.workers import Worker
from ops.database import connected
from stack.local import Stack
from stack.ports import free_ports
from streams.topics import DEAD_LETTERS
from tables.lookups import DATABASE
from tests.streams.orders.deployments import FedShop, changing_rows, metric, metrics_of, stats_of
from tests.streams.orders.live_shop import Shop, new_id
from tests.streams.orders.test_redis_away import bring_back, freeze, kill
from tests.streams.orders.test_workers import share
from tests.support.builders import created, deleted, payment_method_row, updated
from tests.support.server_waiting import until

IDS: Final = range(1, 61)
SEED: Final = 31
Rows = dict[str, dict[str, Any]]


class NewWorker(Protocol):
    """Starts a worker, and waits until it is ready."""

    def __call__(self, environment: dict[str, str]) -> Worker: ...


@pytest.fixture
def fed(servers: Stack, tmp_path: Path) -> Iterator[FedShop]:
    shop = FedShop(servers, tmp_path)
    shop.environment["LOOKUPS_APP_ID"] = f"{shop.dataset}-lookups"
    with look_ups(shop.environment) as client:
        client.flushdb()
    yield shop
    bring_back(shop)
    shop.close()


@pytest.fixture
def new_worker(tmp_path: Path) -> Iterator[NewWorker]:
    workers: list[Worker] = []

    def make(environment: dict[str, str]) -> Worker:
        [port] = free_ports(["worker"]).values()
        workers.append(Worker(web_port=port, environment=environment, folder=tmp_path, application="streams.lookups"))
        workers[-1].start()
        workers[-1].wait_ready()
        return workers[-1]

    yield make
    assert [worker.stop() for worker in workers] == [True] * len(workers), "workers end gracefully"


@contextlib.contextmanager
def look_ups(environment: dict[str, str]) -> Iterator[Any]:
    """A client of the look-ups' database."""
    url = RedisSettings.read(environment).url
    with contextlib.closing(redis.Redis.from_url(url, db=DATABASE, decode_responses=True)) as client:
        yield client


def rows_in_redis(environment: dict[str, str], kind: str = "customer") -> Rows:
    """All look-ups of a kind by id."""
    with look_ups(environment) as client:
        keys = sorted(client.scan_iter(f"{kind}:*", count=1_000))
        values = client.mget(keys) if keys else []
    return {k.partition(":")[2]: msgspec.json.decode(v) for k, v in zip(keys, values, strict=True) if v is not None}


def lags(worker: Worker) -> list[float]:
    """Lag of every topic partition."""
    return [value for (name, _), value in metrics_of(worker).items() if name == "millrace_lag_records"]


# -- the database -----------------------------------------------------------------------------------------------------


def rows_of(environment: dict[str, str], table: str, columns: str) -> Rows:
    """The source's rows by id."""
    with connected(DatabaseSettings.read(environment), "project_db") as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table}")  # noqa: S608 - both are spelled here
        names = columns.split(",")
        rows: list[Any] = cursor.fetchall()
    return {str(row[0]): dict(zip(names, row, strict=True)) for row in rows}


def are_the_sources(environment: dict[str, str], kind: str, table: str, columns: str) -> bool:
    expected, found = rows_of(environment, table, columns), rows_in_redis(environment, kind)
    names = columns.split(",")
    return expected == {id_: {name: row[name] for name in names} for id_, row in found.items()}


def test_the_snapshot_fills_the_look_ups_and_every_change_follows(
    pipeline: Stack, shop: Shop, new_worker: NewWorker
) -> None:
    environment = pipeline.environment() | {"LOOKUPS_APP_ID": f"lookups-{new_id()}"}

    def are_equal() -> bool:
        return are_the_sources(environment, "customer", "customers", "id,name,email,phone,tier") and are_the_sources(
            environment, "payment_method", "payment_method", "id,name,bank"
        )

    worker = new_worker(environment)
    until(are_equal, "every row is there")
    assert len(rows_in_redis(environment)) >= 990
    full = rows_in_redis(environment)["1"]
    assert full.keys() == {"id", "name", "email", "phone", "tier", "created_at", "updated_at"}
    shop.transaction(
        ("UPDATE customers SET tier = 'gold', phone = NULL, name = 'Zoë \\'Z\\'' WHERE id <= 20", ()),
        ("DELETE FROM customers WHERE id BETWEEN 31 AND 40", ()),
        ("INSERT INTO payment_method (id, name, bank) VALUES (88, 'Gift card', 'None')", ()),
    )
    shop.transaction(("DELETE FROM payment_method WHERE id = 88", ()))
    shop.transaction(("INSERT INTO payment_method (id, name, bank) VALUES (88, 'Card', 'Bank')", ()))
    until(lambda: "88" in rows_in_redis(environment, "payment_method"), "the new method is there")
    until(are_equal, "every change has followed")
    assert rows_in_redis(environment)["7"]["name"] == "Zoë 'Z'"
    assert stats_of(worker)["lookups"]["deleted"] >= 11
    for event, count in stats_of(worker)["lookups"].items():
        assert metric(worker, "millrace_lookups_total", event=event) == count
    until(lambda: lags(worker) == [0.0] * 5, "nothing is left to do")


# -- rows that the test writes ----------------------------------------------------------------------------------------


class Customers:
    """Writes customers, and keeps what they come to."""

    def __init__(self, fed: FedShop) -> None:
        self.rows: Rows = {}
        self._fed = fed
        self._draw = random.Random(SEED)  # noqa: S311 - no secret
        self._version = 0

    def put(self, number: int) -> None:
        """Insert or update a customer."""
        self._version += 1
        row = {"id": number, "name": f"Customer {number}", "version": self._version}
        before = self.rows.get(str(number))
        if before is None:
            self._fed.write("customers", str(number), row)
        else:
            self._fed.write("customers", str(number), row, op=lambda after, **at: updated(before, after, **at))
        self.rows[str(number)] = row

    def delete(self, number: int) -> None:
        """Delete a customer."""
        row = self.rows.pop(str(number), None)
        if row is not None:
            self._fed.write("customers", str(number), row, op=deleted)

    def fill(self) -> None:
        """Put all of them."""
        for number in IDS:
            self.put(number)

    def load(self) -> AbstractContextManager[None]:
        """Put and delete at random all the while."""
        return changing_rows(self.put, self.delete, ids=IDS, draw=self._draw)

    def until_there(self) -> None:
        """Wait until the look-ups are these rows."""
        until(lambda: rows_in_redis(self._fed.environment) == self.rows, "the look-ups are the source's rows")


@pytest.fixture
def customers(fed: FedShop) -> Customers:
    return Customers(fed)


def test_bad_records_are_dead_letters_and_records_without_a_value_change_nothing(
    fed: FedShop, customers: Customers, new_worker: NewWorker
) -> None:
    worker = new_worker(fed.environment)
    customers.put(1)
    no_id = created({"name": "Nobody"})
    fed.write_raw("customers", "1", b"{ not json", None, no_id, created({"id": 2}))
    fed.write_raw("payment_method", "3", b"")
    fed.write("payment_method", "3", payment_method_row(3))
    customers.put(2)
    customers.until_there()
    until(lambda: rows_in_redis(fed.environment, "payment_method").keys() == {"3"}, "the method is there")
    dead = [
        r for r in fed.tail.wait(DEAD_LETTERS, "1", count=3) if r.headers["app"] == fed.environment["LOOKUPS_APP_ID"]
    ]
    assert [record.raw for record in dead] == [b"{ not json", no_id, created({"id": 2})]
    assert len({record.headers["partition"] for record in dead}) == 1
    assert metric(worker, "millrace_dead_letters_total") == 4
    assert stats_of(worker)["tombstones"] == 1


def crash(fed: FedShop) -> None:
    """End Redis; its disk stays, but for the last second."""
    fed.stack.kill("redis")


@pytest.mark.parametrize(
    "away",
    [
        pytest.param(crash, id="killed", marks=pytest.mark.nightly),
        pytest.param(kill, id="killed with its data"),
        pytest.param(freeze, id="frozen"),
    ],
)
def test_after_an_outage_the_look_ups_are_complete_without_any_new_change(
    fed: FedShop, customers: Customers, new_worker: NewWorker, away: Callable[[FedShop], None]
) -> None:
    worker = new_worker(fed.environment)
    fed.write("payment_method", "3", payment_method_row(3))
    customers.fill()
    customers.until_there()
    away(fed)
    until(lambda: not stats_of(worker)["ready"], "the worker says that it waits")
    waiting = [partition for partition in stats_of(worker)["partitions"].values() if partition["error"]]
    assert all("SinkAwayError" in partition["error"] for partition in waiting)
    assert waiting
    bring_back(fed)
    customers.until_there()
    until(lambda: rows_in_redis(fed.environment, "payment_method").keys() == {"3"}, "the other topic is there too")
    until(lambda: stats_of(worker)["ready"], "the worker goes on")
    assert worker.is_running()


def test_look_ups_that_somebody_deleted_are_filled_again(
    fed: FedShop, customers: Customers, new_worker: NewWorker
) -> None:
    worker = new_worker(fed.environment)
    customers.fill()
    customers.until_there()
    with look_ups(fed.environment) as client:
        client.flushdb()
    customers.until_there()
    assert stats_of(worker)["reopened_after_error"] >= 4


@pytest.mark.nightly  # the outage of a frozen worker above runs on every push
def test_a_worker_killed_under_load_leaves_the_look_ups_right(
    fed: FedShop, customers: Customers, new_worker: NewWorker
) -> None:
    workers = [new_worker(fed.environment) for _ in range(2)]
    until(lambda: sum(share(workers)) == 5, "all five partitions are served")
    with customers.load():
        for victim, survivor in [workers, workers[::-1]]:
            victim.kill()
            until(lambda w=survivor: share([w]) == [5], "the survivor serves all partitions")  # type: ignore[misc]
            victim.start()
            until(lambda: min(share(workers)) > 0 and sum(share(workers)) == 5, "both serve partitions again")
    customers.until_there()


@pytest.mark.nightly
def test_a_worker_that_slept_while_another_went_on_brings_nothing_old_back(
    fed: FedShop, customers: Customers, new_worker: NewWorker
) -> None:
    sleeper, other = workers = [new_worker(fed.environment) for _ in range(2)]
    until(lambda: min(share(workers)) > 0 and sum(share(workers)) == 5, "both serve partitions")
    with customers.load():
        until(lambda: len(customers.rows) > 20, "customers come and go")
        sleeper.pause()
        until(lambda: share([other]) == [5], "the other worker serves all partitions")
        sleeper.resume()
        until(lambda: min(share(workers)) > 0 and sum(share(workers)) == 5, "both serve partitions again")
    customers.until_there()


def test_the_pages_are_those_of_every_worker_and_none_of_orders(
    fed: FedShop, customers: Customers, new_worker: NewWorker
) -> None:
    worker = new_worker(fed.environment)
    customers.fill()
    customers.delete(1)
    customers.until_there()
    until(lambda: metric(worker, "millrace_lookups_total", event="deleted") == 1, "everything is counted")
    stats = stats_of(worker)
    assert (stats["app"], stats["lookups"]) == (
        fed.environment["LOOKUPS_APP_ID"], {"written": len(IDS), "deleted": 1},
    )  # fmt: skip
    names = {*(f"customer/{number}" for number in range(4)), "payment_method/0"}
    assert {name: partition["state"] for name, partition in stats["partitions"].items()} == dict.fromkeys(
        names, "running"
    )
    for name in names:
        assert metric(worker, "millrace_partition_running", partition=name) == 1
    until(lambda: set(lags(worker)) == {0.0}, "nothing is left to do")
    answer = requests.get(f"{worker.url}/metrics", timeout=10)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    for path in ("/orders/incomplete", "/orders/x/", "/table/"):
        assert requests.get(f"{worker.url}{path}", timeout=10).status_code == 404, path
