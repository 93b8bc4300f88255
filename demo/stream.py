"""The first part of the demo: from commits in the database to complete orders, with a worker killed in the middle."""

from __future__ import annotations

import random
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from config.database_settings import DatabaseSettings
from config.definition import Definition, OrdersGenerator
from config.settings import ConnectSettings, KafkaSettings, OrdersSettings
from demo.progress import Progress
from demo.proof import Proof, percentile
from demo.watch import FinalWatch
from demo.workers import Worker
from ops.connector.apply import apply_connector
from ops.connector.first_reads import read_all
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name, connector_settings
from ops.connector.signal_table import create_signal_table
from ops.database import connected
from ops.dataset.bulk import OnDuplicate
from ops.dataset.check import check
from ops.dataset.generator.files import write_files
from ops.dataset.generator.load import load_files
from ops.dataset.generator.plan import Plan
from ops.dataset.schema import create_schema
from ops.dataset.shop import NewOrder, place_order
from ops.topics import apply_topics
from stack.errors import StackError
from streams.topics import catalogue

TABLES: Final = ("payment_method", "orders", "order_details")
"""What an order needs; the many customers are loaded after the stream's part, so that it can begin earlier."""

KILL_AT_SHARE: Final = 0.4
LIVE_ORDERS: Final = 300
LIVE_RATE_PER_S: Final = 20.0
VISIBLE_LIMIT_S: Final = 180.0


class StreamPart:
    """The stream's part of the demo, on running servers."""

    def __init__(
        self,
        *,
        definition: Definition,
        plan: Plan,
        environment: Mapping[str, str],
        workers: Sequence[Worker],
        progress: Progress,
    ) -> None:
        self._definition = definition
        self._plan = plan
        self._database = DatabaseSettings.read(environment)
        self._kafka = KafkaSettings.read(environment)
        self._connect = ConnectSettings.read(environment)
        self._workers = workers
        self._progress = progress

    def run(self, proof: Proof) -> None:
        """Run the phases of the stream, and add their results to the proof; stop the workers even if a phase fails.

        Raises:
            StackError: a server or a worker failed, or orders did not become visible in time.
        """
        try:
            self._load()
            self._capture()
            with FinalWatch(self._kafka.bootstrap) as watch:
                self._complete(watch, proof)
                self._live(watch, proof)
        finally:
            for worker in self._workers:
                worker.stop()
        self._verify(proof)

    @property
    def _generator(self) -> OrdersGenerator:
        assert isinstance(self._definition.generator, OrdersGenerator)
        return self._definition.generator

    def _load(self) -> None:
        with self._progress.phase("load", f"load {self._plan.orders:,} orders and their product lines"):
            with connected(self._database) as connection:
                create_schema(connection, self._definition, drop=True)
                create_signal_table(connection)
            with tempfile.TemporaryDirectory(prefix="millrace-demo-") as folder:
                paths = write_files(self._generator, self._plan, Path(folder), tables=TABLES)
                load_files(self._database, self._definition, paths, OnDuplicate.FAIL, lambda line: None)

    def _capture(self) -> None:
        with self._progress.phase("capture", "create the topics and register the Debezium connector"):
            app_id = OrdersSettings.read({}).orders_app_id
            specs = catalogue(
                dataset=self._definition.name, app_id=app_id, order_partitions=self._kafka.order_partitions
            )
            apply_topics(self._kafka, specs)
            with ConnectClient(self._connect.url) as connect:
                name = connector_name(self._definition.name)
                apply_connector(connect, name, connector_settings(self._definition, self._connect))

    def _complete(self, watch: FinalWatch, proof: Proof) -> None:
        orders = self._plan.orders
        with self._progress.phase("orders", "complete the orders with two workers, and kill one of them (SIGKILL)"):
            for worker in self._workers:
                worker.start()
            self._progress.note(
                f"look into the workers: {'  '.join(f'{worker.url}/stats/' for worker in self._workers)}"
            )
            victim = self._workers[0]
            self._await(watch, int(orders * KILL_AT_SHARE))
            before, killed = len(watch.first_seen_ns), time.monotonic()
            victim.kill()
            self._progress.note(f"killed the worker at port {victim.web_port} when {before:,} orders were visible")
            victim.start()
            self._await(watch, orders)
            self._progress.note(f"all {orders:,} orders are visible {time.monotonic() - killed:.1f} s after the kill")
        seen = sorted(watch.seen_ns().values())
        proof.events = orders + self._plan.order_details
        proof.events_per_s = round(proof.events / max((seen[-1] - seen[0]) / 1e9, 1e-3), 1)

    def _live(self, watch: FinalWatch, proof: Proof) -> None:
        with self._progress.phase("live", f"place {LIVE_ORDERS} live orders and measure commit → order_final"):
            self._wait_streaming()
            placed = self._place_live_orders()
            if not watch.wait_for(self._plan.orders + LIVE_ORDERS, VISIBLE_LIMIT_S):
                return  # the verdict will report the missing orders
        waits = [(watch.first_seen_ns[id_] - at) / 1e6 for id_, at in placed.items()]
        proof.live_orders = len(waits)
        proof.latency_p50_ms = round(percentile(waits, 0.5), 1)
        proof.latency_p99_ms = round(percentile(waits, 0.99), 1)

    def _wait_streaming(self) -> None:
        """Wait until the connector has read all tables, after which it streams changes, and for both workers.

        The customers, which it reads last, are loaded later, and arrive as changes.
        """
        with ConnectClient(self._connect.url) as connect:
            read_all(self._definition, self._database, self._kafka, connect)
        for worker in self._workers:
            worker.wait_ready()

    def _place_live_orders(self) -> dict[str, int]:
        draw = random.Random(self._plan.seed)  # noqa: S311 - data of a demonstration
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

    def _verify(self, proof: Proof) -> None:
        with self._progress.phase("verify", "compare order_final with the database, field by field"):
            verdict = check(self._database, self._kafka, self._definition, strict=True)
        proof.complete_orders = verdict.complete
        proof.distinct = verdict.distinct
        proof.total = verdict.records
        proof.missing = len(verdict.missing)
        proof.duplicates = verdict.duplicates
        proof.different = len(verdict.different) + len(verdict.malformed)

    def _await(self, watch: FinalWatch, count: int) -> None:
        if not watch.wait_for(count, VISIBLE_LIMIT_S):
            logs = ", ".join(str(worker.log) for worker in self._workers)
            seen = f"{len(watch.first_seen_ns):,} of {count:,} orders"
            raise StackError(f"only {seen} are visible after {VISIBLE_LIMIT_S:.0f} s: see {logs}")
