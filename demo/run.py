"""Run the phases of the demo, in order."""

from __future__ import annotations

import random
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from config.dataset import load_definition
from config.definition import Definition, OrdersGenerator
from config.settings import ConnectSettings, DatabaseSettings, KafkaSettings, OrdersSettings
from demo import lake
from demo.proof import Proof, percentile
from demo.watch import FinalWatch
from demo.workers import Worker
from ops.connector.apply import apply_connector, wait_snapshot
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name, connector_settings
from ops.dataset.bulk import OnDuplicate
from ops.dataset.check import check
from ops.dataset.database import connected, quoted
from ops.dataset.generator.files import write_files
from ops.dataset.generator.load import load_files
from ops.dataset.generator.plan import Plan, make_plan
from ops.dataset.schema import create_schema
from ops.dataset.shop import NewOrder, place_order
from ops.topics import apply_topics
from stack.errors import StackError
from stack.local import Stack
from streams.topics import catalogue

KILL_AT_SHARE = 0.4
LIVE_ORDERS = 300
LIVE_RATE_PER_S = 20.0
VISIBLE_LIMIT_S = 180.0

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters of the demo; `folder` is where the workers' data and logs are written."""

    size: float
    customers: int | None
    web_ports: tuple[int, ...]
    archive_port: int
    folder: Path


class Demo:
    """A run of the demo on a stack that the caller starts and stops."""

    def __init__(self, stack: Stack, parameters: Parameters, say: Say) -> None:
        environment = self._environment = stack.environment()
        self.proof = Proof()
        self._parameters = parameters
        self._say = say
        self._definition: Definition = load_definition("project_db")
        self._database = DatabaseSettings.read(environment)
        self._kafka = KafkaSettings.read(environment)
        self._connect = ConnectSettings.read(environment)
        self.workers = [
            Worker(web_port=port, environment=environment, folder=parameters.folder) for port in parameters.web_ports
        ]
        self.archive = Worker(
            web_port=parameters.archive_port,
            environment=environment,
            folder=parameters.folder / "archive",
            application="streams.archive",
        )

    @property
    def connect_url(self) -> str:
        """URL of Kafka Connect's REST API."""
        return self._connect.url

    @property
    def _generator(self) -> OrdersGenerator:
        assert self._definition.generator is not None
        return self._definition.generator

    @contextmanager
    def phase(self, name: str, text: str) -> Iterator[None]:
        """Measure the duration of a phase, and print its start and end."""
        self._say(f"→ {text}")
        began = time.monotonic()
        yield
        self.proof.seconds_per_phase[name] = round(time.monotonic() - began, 2)
        self._say(f"  done in {self.proof.seconds_per_phase[name]:.1f} s")

    def run(self) -> Proof:
        """Run all phases on the running servers; stop the workers even if a phase fails."""
        plan = make_plan(self._generator, size=self._parameters.size, customers=self._parameters.customers)
        try:
            self._load(plan)
            self._capture()
            with FinalWatch(self._kafka.bootstrap) as watch:
                self._complete(plan, watch)
                self._finish_snapshot()
                self._live(plan, watch)
        finally:
            for worker in self.workers:
                worker.stop()
        self._verify()
        self._fill_lake()
        return self.proof

    def _load(self, plan: Plan) -> None:
        with self.phase("load", f"load {plan.orders:,} orders and their lines, {plan.customers:,} customers"):
            with connected(self._database) as connection:
                create_schema(connection, self._definition, drop=True)
            with tempfile.TemporaryDirectory(prefix="millrace-demo-") as folder:
                paths = write_files(self._generator, plan, Path(folder), lambda line: None)
                load_files(self._database, self._definition, paths, OnDuplicate.FAIL, lambda line: None)

    def _capture(self) -> None:
        with self.phase("capture", "create the topics and register the connector"):
            app_id = OrdersSettings.read({}).orders_app_id
            specs = catalogue(
                dataset=self._definition.name, app_id=app_id, order_partitions=self._kafka.order_partitions
            )
            apply_topics(self._kafka, specs)
            with ConnectClient(self._connect.url) as connect:
                name = connector_name(self._definition.name)
                apply_connector(connect, name, connector_settings(self._definition, self._connect))

    def _complete(self, plan: Plan, watch: FinalWatch) -> None:
        with self.phase("orders", "complete the orders with two workers; SIGKILL one of them in the middle"):
            for worker in self.workers:
                worker.start()
                self._say(f"  worker {worker.url}/stats/")
            victim = self.workers[0]
            self._await(watch, int(plan.orders * KILL_AT_SHARE))
            before, killed = len(watch.first_seen_ns), time.monotonic()
            victim.kill()
            self._say(f"  killed the worker at port {victim.web_port} when {before:,} orders were visible")
            victim.start()
            self._await(watch, plan.orders)
            self._say(f"  all {plan.orders:,} orders are visible {time.monotonic() - killed:.1f} s after the kill")
        seen = sorted(watch.seen_ns().values())
        self.proof.events = plan.orders + plan.order_details
        self.proof.events_per_s = round(self.proof.events / max((seen[-1] - seen[0]) / 1e9, 1e-3), 1)

    def _finish_snapshot(self) -> None:
        """Wait for the connector's snapshot, because Debezium streams live changes only after it."""
        with self.phase("snapshot", "let the connector finish its snapshot of the customers"):
            with ConnectClient(self._connect.url) as connect:
                wait_snapshot(connect, connector_name(self._definition.name))
            for worker in self.workers:
                worker.wait_ready()

    def _live(self, plan: Plan, watch: FinalWatch) -> None:
        with self.phase("live", f"place {LIVE_ORDERS} live orders and measure commit → order_final"):
            placed = self._place_live_orders(plan)
            if not watch.wait_for(plan.orders + LIVE_ORDERS, VISIBLE_LIMIT_S):
                return  # the verdict will report the missing orders
        waits = [(watch.first_seen_ns[id_] - at) / 1e6 for id_, at in placed.items()]
        self.proof.live_orders = len(waits)
        self.proof.latency_p50_ms = round(percentile(waits, 0.5), 1)
        self.proof.latency_p99_ms = round(percentile(waits, 0.99), 1)

    def _place_live_orders(self, plan: Plan) -> dict[str, int]:
        draw = random.Random(plan.seed)  # noqa: S311 - data of a demonstration
        placed: dict[str, int] = {}
        with connected(self._database, self._definition.database) as connection:
            began = time.monotonic()
            for number in range(LIVE_ORDERS):
                time.sleep(max(0.0, began + number / LIVE_RATE_PER_S - time.monotonic()))
                order = place_order(connection, self._new_order(draw))
                placed[order.order_id] = order.committed_at_ns
        return placed

    def _new_order(self, draw: random.Random) -> NewOrder:
        products = draw.sample(range(1, self._generator.products + 1), draw.randint(1, 4))
        return NewOrder(
            order_id=str(uuid.UUID(int=draw.getrandbits(128), version=4)),
            customer_id=draw.randint(1, 1000),
            store_id=draw.randint(1, self._generator.stores),
            payment_method_id=draw.randint(1, 12),
            lines=[(product, draw.randint(1, 5)) for product in products],
            ordered_at=datetime.now(UTC),
        )

    def _verify(self) -> None:
        with self.phase("verify", "compare order_final with the database, field by field"):
            verdict = check(self._database, self._kafka, self._definition, strict=True)
        self.proof.complete_orders = verdict.complete
        self.proof.distinct = verdict.distinct
        self.proof.total = verdict.records
        self.proof.missing = len(verdict.missing)
        self.proof.duplicates = verdict.duplicates
        self.proof.different = len(verdict.different) + len(verdict.malformed)

    def _fill_lake(self) -> None:
        """Archive all changes, fill the lake and reconcile it with the database.

        No row was updated, so the number of changes is the number of rows.
        """
        with connected(self._database, self._definition.database) as connection, connection.cursor() as cursor:
            changes = 0
            for table in self._definition.tables:
                cursor.execute(f"SELECT COUNT(*) FROM {quoted(table.name)}")  # noqa: S608
                [count] = cursor.fetchall()
                changes += int(str(count[0]))  # type: ignore[index]
        with self.phase("archive", f"archive the {changes:,} changes in object storage"):
            lake.archive_all(self.archive, changes, self._say)
        logs = {"LOG_DIR": str(self._parameters.folder / "logs")}
        with self.phase("lake", "Bronze, Silver and Gold"):
            code, lines = lake.batch(["run"], self._environment | logs, self._say)
            if code != 0:
                raise StackError(f"the lake could not be filled: see {logs['LOG_DIR']}")
            self.proof.lake_rows = lake.rows_per_table(lines)
        with self.phase("reconcile", "compare the stream and the lake with the database"):
            code, _ = lake.batch(["reconcile"], self._environment | logs, self._say)
            self.proof.lake_verdict = lake.VERDICTS.get(code, "failed")

    def _await(self, watch: FinalWatch, count: int) -> None:
        if not watch.wait_for(count, VISIBLE_LIMIT_S):
            logs = ", ".join(str(worker.log) for worker in self.workers)
            seen = f"{len(watch.first_seen_ns):,} of {count:,} orders"
            raise StackError(f"only {seen} are visible after {VISIBLE_LIMIT_S:.0f} s: see {logs}")
