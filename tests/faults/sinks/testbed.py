"""Testbed of the fault scenarios of warehouse and live figures: servers that all share, and a shop for each."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Final
from unittest import mock

import psycopg
import redis

from config.database_settings import WarehouseDatabaseSettings
from config.settings import RedisSettings
from demo.workers import Worker
from ops.cli import main
from stack.ports import free_ports
from tables.figures import DATABASE, ORDERS, STATS
from tests.faults.postgres_testbed import PostgresFaultTestbed
from tests.faults.result import Say
from tests.faults.scenario import Dose
from tests.faults.sinks.oracle import LOOK, Moment
from tests.faults.sinks.shop import SinkShop
from tests.streams.warehouse.warehouse_rows import login_of
from tests.support.background import in_background

LIMIT_S: Final = 90.0
LOOK_PAUSE_S: Final = 0.05
MOST_MOMENTS: Final = 600


class SinkFaultTestbed(PostgresFaultTestbed):
    """Kafka, Redis and PostgreSQL, and a folder for workers and datasets."""

    servers = ("kafka", "redis", "postgres")
    title = "Kafka, Redis and PostgreSQL"


@dataclass
class SinkScenario:
    """A running scenario.

    Attributes:
        faults: what the scenario itself expects and did not see.
        moments: what the warehouse had, looked at all the while.
    """

    testbed: SinkFaultTestbed
    shop: SinkShop
    environment: dict[str, str]
    kill_file: Path
    mutant: str
    dose: Dose
    draw: random.Random
    say: Say
    faults: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    moments: list[Moment] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)

    def worker(self, application: str = "warehouse", *, ready: bool = True) -> Worker:
        """Start a worker, and wait until it is ready."""
        [port] = free_ports(["worker"]).values()
        program = ("tests.faults.sinks.program", self.mutant) if application == "warehouse" else ("faust",)
        worker = Worker(
            web_port=port,
            environment=self.environment,
            folder=self.kill_file.parent,
            program=program,
            application=f"streams.{application}",
        )
        self.workers.append(worker)
        worker.start()
        if ready:
            worker.wait_ready()
        return worker

    def ask(self, when: str) -> None:
        """Ask the workers for a fault in their next turn."""
        self.kill_file.write_text(when)

    def expect(self, condition: object, otherwise: str) -> None:
        """Note a fault unless the condition holds."""
        if not condition:
            self.faults.append(otherwise)

    def until(self, condition: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
        """Wait until a condition holds.

        Raises:
            TimeoutError: it does not hold in time.
        """
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not in {limit_s:.0f} s: {what}")
            time.sleep(0.02)

    def until_on(self, count: int = 50) -> None:
        """Wait until the warehouse has come further, by so many offsets."""
        known = self._reached()
        self.until(lambda: self._reached() >= known + count, "the warehouse goes on")

    def _reached(self) -> int:
        with contextlib.suppress(psycopg.Error):
            return int(
                self.run("SELECT coalesce(sum(next), 0) FROM stream_offsets WHERE topic LIKE '%.customers'")[0][0]
            )
        return 0

    def until_caught_up(self, limit_s: float = LIMIT_S) -> bool:
        """Wait until the warehouse has every record of the customers; return whether it has in time."""
        ends: dict[int, int] = {}
        for each in self.shop.history:
            ends[each.partition] = max(each.place + 1, ends.get(each.partition, 0))
        query = "SELECT partition, next FROM stream_offsets WHERE topic = %s"

        def is_there() -> bool:
            with contextlib.suppress(psycopg.Error):
                found = dict(self.run(query, self.shop.customers_topic()))
                return all((found.get(partition) or 0) >= end for partition, end in ends.items())
            return False

        with contextlib.suppress(TimeoutError):
            self.until(is_there, "every record is in the warehouse", limit_s)
            return True
        return False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at the warehouse during the block."""

        def run(stop: Event) -> None:
            while not stop.wait(LOOK_PAUSE_S):
                self.look()

        with in_background(run, "moments"):
            yield

    def look(self) -> None:
        """Keep what the warehouse has now, unless it is away or has nothing; of too many moments, every second goes."""
        with contextlib.suppress(psycopg.Error):
            [(offsets, rows)] = self.run(LOOK)
            moment = Moment(offsets or {}, rows or {})
            if offsets and (not self.moments or moment != self.moments[-1]):
                self.moments.append(moment)
        if len(self.moments) > MOST_MOMENTS:
            del self.moments[1:-1:2]

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement in the warehouse; its rows."""
        with self.connect() as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def connect(self, database: str | None = None) -> psycopg.Connection[Any]:
        """Connect to the warehouse, or to another database of its server."""
        login = WarehouseDatabaseSettings.read(self.environment)
        fields = login.connection | {"dbname": database or login.database}
        return psycopg.connect(autocommit=True, **fields)  # type: ignore[arg-type]

    def redis(self) -> Any:
        """A client of the figures' database."""
        return redis.Redis.from_url(RedisSettings.read(self.environment).url, db=DATABASE, decode_responses=True)

    def counted(self) -> dict[str, int]:
        """The figures of orders: numbers by what changes did, and by minute."""
        with contextlib.closing(self.redis()) as client:
            found = {name: int(number) for name, number in client.hgetall(f"{STATS}orders").items()}
            found.pop("last_change_ms", None)
            for key in client.keys(f"{ORDERS}*"):
                found[key.removeprefix(ORDERS)] = int(client.hget(key, "orders") or 0)
        return found

    def end(self) -> None:
        """End the workers, and remove what the scenario has made."""
        for worker in self.workers:
            worker.resume()
            worker.kill()
        self.testbed.heal()
        with self.connect("postgres") as connection:
            name = self.environment["WAREHOUSE_DATABASE"]
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        with contextlib.closing(self.redis()) as client:
            client.flushdb()
        self.shop.close()


@contextmanager
def scenario_of(
    testbed: SinkFaultTestbed, dose: Dose, *, name: str, seed: int, mutant: str, say: Say
) -> Iterator[SinkScenario]:
    """Make a shop and an empty warehouse for one scenario."""
    folder = testbed.folder / f"{name}-{secrets.token_hex(4)}"
    folder.mkdir()
    shop = SinkShop(testbed.stack, folder, f"{name}/{seed}")
    own = {"WAREHOUSE_APP_ID": f"{shop.dataset}-warehouse", "METRICS_APP_ID": f"{shop.dataset}-metrics"}
    own |= {"WAREHOUSE_DATABASE": f"wh_{secrets.token_hex(4)}", "KILL_FILE": str(folder / "kill")}
    environment = shop.environment | own | login_of(testbed.stack)
    draw = random.Random(f"{name}/{seed}/faults")  # noqa: S311 - faults by chance, no secrets
    scenario = SinkScenario(testbed, shop, environment, folder / "kill", mutant, dose, draw, say)
    with mock.patch.dict(os.environ, environment):
        assert main(["warehouse", "apply"]) == 0
    try:
        yield scenario
    finally:
        scenario.end()
