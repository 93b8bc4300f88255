"""Goal: the warehouse equals the source, also after faults of workers and of the connection to it.

Method: real workers of `streams.warehouse` on topics that the test writes; the test keeps what the rows have to come
to. Limits are for liveness only.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from config.database_settings import WarehouseDatabaseSettings
from demo.workers import Worker
from ops.cli import main
from stack.local import Stack
from stack.ports import free_ports
from stack.process import ProcessState
from streams.topics import change_topic
from tests.streams.orders.deployments import PARTITIONS, FedShop, changing_rows, metric, stats_of
from tests.streams.warehouse.warehouse_rows import login_of
from tests.support.builders import created, deleted, snapshot_read, updated
from tests.support.server_waiting import until

SEED: Final = 22
IDS: Final = range(1, 61)
TIME: Final = "2026-01-02T03:04:05Z"
Rows = dict[int, tuple[str, bool]]


class Customers:
    """Writes customers to their topic, and keeps the tier of each and whether it is deleted."""

    def __init__(self, shop: FedShop) -> None:
        self.rows: Rows = {}
        self._shop = shop
        self._draw = random.Random(SEED)  # noqa: S311 - no secret
        self._version = 0

    def put(self, number: int, *, op: Any = None) -> None:
        """Insert or update a customer."""
        self._version += 1
        row = columns(number, f"tier {self._version}")
        before = self.rows.get(number)
        if op is None:
            is_new = before is None or before[1]
            old = columns(number, "" if before is None else before[0])
            op = created if is_new else lambda after, **at: updated(old, after, **at)
        self._shop.write("customers", str(number), row, op=op)
        self.rows[number] = (f"tier {self._version}", False)

    def delete(self, number: int) -> None:
        """Delete a customer."""
        tier, is_deleted = self.rows.get(number, ("", True))
        if not is_deleted:
            self._shop.write("customers", str(number), columns(number, tier), op=deleted)
            self.rows[number] = (tier, True)

    def read_again(self) -> None:
        """Write what a new snapshot reads."""
        for number, (tier, is_deleted) in self.rows.items():
            if not is_deleted:
                self._shop.write("customers", str(number), columns(number, tier), op=snapshot_read)

    def load(self) -> AbstractContextManager[None]:
        """Put and delete at random all the while."""
        return changing_rows(self.put, self.delete, ids=IDS, draw=self._draw)


def columns(number: int, tier: str) -> dict[str, Any]:
    """A row of the source."""
    times = {"created_at": TIME, "updated_at": TIME}
    return {"id": number, "name": "Ada", "email": f"{number}@example.org", "phone": None, "tier": tier, **times}


class WarehouseShop(FedShop):
    """A shop with a warehouse of its own, and workers that fill it."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        super().__init__(stack, folder)
        own = {"WAREHOUSE_APP_ID": f"{self.dataset}-warehouse", "WAREHOUSE_DATABASE": f"wh_{secrets.token_hex(4)}"}
        own["LOOKUPS_APP_ID"] = f"{self.dataset}-lookups"
        self.environment |= own | login_of(stack)
        self.workers: list[Worker] = []
        self.kill_file = folder / "kill"
        self.customers = Customers(self)

    def worker(self, *program: str, application: str = "streams.warehouse", ready: bool = True) -> Worker:
        """Start a worker, and wait until it is ready."""
        [port] = free_ports(["worker"]).values()
        environment = self.environment | {"KILL_FILE": str(self.kill_file)}
        worker = Worker(
            web_port=port,
            environment=environment,
            folder=self._folder,
            program=program or ("faust",),
            application=application,
        )
        self.workers.append(worker)
        worker.start()
        if ready:
            worker.wait_ready()
        return worker

    @property
    def customers_topic(self) -> str:
        """The topic of the customers."""
        return change_topic(self.dataset, "customers")

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in the warehouse; its rows."""
        with self._connected(self.environment["WAREHOUSE_DATABASE"]) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def rows(self) -> Rows:
        """The customers of the warehouse."""
        found = self.run("SELECT customer_id, tier, is_deleted FROM dim_customers")
        return {number: (tier, is_deleted) for number, tier, is_deleted in found}

    def until_equal(self) -> None:
        """Wait until the warehouse is the source."""
        until(lambda: self.rows() == self.customers.rows, "the warehouse has the source's rows")

    def end(self) -> None:
        """End the workers, and drop the database."""
        for worker in self.workers:
            worker.stop()
        with self._connected("postgres") as connection:
            connection.execute(
                f"DROP DATABASE IF EXISTS {self.environment['WAREHOUSE_DATABASE']} WITH (FORCE)".encode()
            )
        self.close()

    def _connected(self, database: str) -> psycopg.Connection[Any]:
        login = WarehouseDatabaseSettings.read(self.environment)
        return psycopg.connect(
            host=login.host,
            port=login.port,
            user=login.user,
            password=login.password,
            dbname=database,
            autocommit=True,
        )


def is_alone(worker: Worker) -> bool:
    """Whether a worker processes every partition of the customers."""
    stats = worker.stats() or {"partitions": {}}
    running = [name for name, each in stats["partitions"].items() if each["state"] == "running"]
    return {f"dim_customers/{number}" for number in range(PARTITIONS)} <= {*running}


@pytest.fixture
def shop(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WarehouseShop]:
    shop = WarehouseShop(stack, tmp_path)
    for name, value in shop.environment.items():
        monkeypatch.setenv(name, value)
    assert main(["warehouse", "apply"]) == 0
    yield shop
    shop.end()


def test_changes_dead_letters_and_a_new_snapshot_reach_the_warehouse(
    shop: WarehouseShop, capsys: pytest.CaptureFixture[str]
) -> None:
    customers = shop.customers
    for number in IDS:
        customers.put(number)
    worker = shop.worker()
    shop.until_equal()
    customers.put(1)
    customers.delete(2)
    bad = created(columns(77, "a\0b"))
    shop.write_raw("customers", "77", bad, b"{")
    shop.order(order_id="3f2504e0-4f89-11d3-9a0c-0305e82c3301", num_products=2, lines=2)
    shop.until_equal()
    letters = f"SELECT value FROM dlq_events WHERE topic LIKE '%{shop.dataset}.customers' ORDER BY \"offset\""  # noqa: S608
    until(lambda: shop.run(letters) == [(bad,), (b"{",)], "both dead letters are events")
    until(lambda: shop.run("SELECT count(*) FROM fact_order_details") == [(2,)], "the lines are facts")
    before = shop.run("SELECT ctid::text, xmin::text FROM dim_customers ORDER BY 1")
    passed_over = stats_of(worker)["warehouse"]["passed_over"]
    customers.read_again()
    until(lambda: stats_of(worker)["warehouse"]["passed_over"] > passed_over + 50, "the snapshot was passed over")
    assert shop.run("SELECT ctid::text, xmin::text FROM dim_customers ORDER BY 1") == before
    assert metric(worker, "millrace_warehouse_total", event="refused") == 1
    capsys.readouterr()
    assert main(["warehouse", "status"]) == 0
    shown = capsys.readouterr().out
    assert "dim_customers" in shown
    assert f"dead letters of {shop.dataset}-warehouse: 2" in shown
    assert worker.stop()
    skipped_record_moves_the_offset(shop)


@pytest.mark.nightly  # the sibling that runs on every push is the letters of the application's own above
def test_letters_of_all_applications_are_events_once_each_and_a_replayed_one_becomes_a_row(
    shop: WarehouseShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.deployment().worker()
    shop.worker()
    shop.worker(application="streams.lookups")
    bad, good = created(columns(77, "a\0b")), created(columns(77, "gold"))
    shop.write_raw("customers", "78", b"{")
    shop.write_raw("customers", "77", bad)
    shop.write_raw("orders", "o-1", b"{")
    own, orders, lookups = (f"{shop.dataset}-{name}" for name in ("warehouse", "orders-1", "lookups"))
    expected = {(own, "customers", b"{"), (own, "customers", bad), (own, "orders", b"{")}
    expected |= {(orders, "orders", b"{"), (lookups, "customers", b"{")}
    events = f"SELECT app, split_part(topic, '.', 3), value FROM dlq_events WHERE topic LIKE '%{shop.dataset}.%'"  # noqa: S608
    until(lambda: {*shop.run(events)} >= expected, "the letters are events")
    assert sorted(shop.run(events)) == sorted(expected)
    capsys.readouterr()
    assert main(["dead-letters", "list", "--json", "--app", own, "--topic", shop.customers_topic]) == 0
    letters = json.loads(capsys.readouterr().out)["letters"]
    [place] = [letter["place"] for letter in letters if letter["key"] == "77"]
    corrected = tmp_path / "corrected.json"
    corrected.write_bytes(good)
    assert main(["dead-letters", "replay", place, "--value", str(corrected)]) == 0
    until(lambda: shop.rows().get(77) == ("gold", False), "the corrected record is a row")
    assert len(shop.run(events)) == len(expected)


def skipped_record_moves_the_offset(shop: WarehouseShop) -> None:
    """Skip the next record of the customers' first partition that has one."""
    for number in IDS:
        shop.customers.put(number)
    topic = shop.customers_topic
    place = f"app = '{shop.dataset}-warehouse' AND topic = '{topic}' AND partition = 0"
    query = f"SELECT next FROM stream_offsets WHERE {place}"  # noqa: S608
    [(offset,)] = shop.run(query)
    skip = ["topics", "skip", "--app", f"{shop.dataset}-warehouse", "--topic", topic, "--partition", "0"]
    assert main([*skip, "--offset", str(offset), "--reason", "test"]) == 0
    assert shop.run(query) == [(offset + 1,)]


NIGHTLY = pytest.mark.nightly  # the sibling that runs on every push is "during"


@pytest.mark.parametrize(
    "when", [pytest.param("before", marks=NIGHTLY), "during", pytest.param("after", marks=NIGHTLY)]
)
def test_a_worker_that_is_killed_around_a_commit_leaves_every_change_once(shop: WarehouseShop, when: str) -> None:
    killed = shop.worker("tests.faults.sinks.program", "none")
    shop.customers.put(1)
    shop.until_equal()
    shop.kill_file.write_text(when)
    with shop.customers.load():
        until(lambda: killed.process.state() is ProcessState.ENDED, "the worker has ended itself")
        shop.worker()
    shop.until_equal()
    assert not shop.kill_file.exists()


def test_workers_that_come_go_and_are_killed_under_load_leave_the_sources_rows(shop: WarehouseShop) -> None:
    with shop.customers.load():
        first = shop.worker()
        second = shop.worker()
        first.kill()
        third = shop.worker()
        second.pause()  # past its session: the third worker takes its partitions over
        until(lambda: is_alone(third), "the third worker has all partitions")
        shop.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        second.resume()
        written = stats_of(third)["warehouse"]["written"]
        until(lambda: stats_of(third)["warehouse"]["written"] > written + 50, "it goes on")
    shop.until_equal()
    assert third.stop()


def test_a_warehouse_that_is_emptied_under_the_worker_is_filled_again(shop: WarehouseShop) -> None:
    for number in IDS:
        shop.customers.put(number)
    shop.worker()
    shop.until_equal()
    assert main(["warehouse", "reset"]) == 1
    assert main(["warehouse", "reset", "--yes"]) == 0
    assert main(["warehouse", "apply"]) == 0
    shop.until_equal()
