"""Deployments of `streams.orders` on a shop without a database: the test writes its change topics as a connector would.

Each shop has a dataset name of its own, and so topics of its own; each deployment an application id. Tests share the
servers and meet in the output topics only, where they look for their own order ids.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import redis
import requests
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families

from agents.guard.locks import DATABASE, lock_key
from config.settings import KafkaSettings, RedisSettings, environment_with
from demo.workers import Worker
from ops.topics import apply_topics
from stack.local import Stack
from stack.ports import free_ports
from stack.site import REPOSITORY
from streams.topics import (
    DEAD_LETTERS,
    ORDER_AMENDED,
    ORDER_FINAL,
    ORDER_INCOMPLETE,
    catalogue,
    change_topic,
    order_state_changelog,
)
from tests.streams.orders.live_shop import TopicTail, new_id
from tests.support.background import in_background
from tests.support.builders import created, detail_row, order_row, position, snapshot_read
from tests.support.datasets import define_dataset
from tests.support.server_waiting import until

PARTITIONS: Final = 4
LOAD_PAUSE_S: Final = 0.05
ORDERS_PER_PAUSE: Final = 5
Metrics = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


class Deployment:
    """One application and its workers.

    Args:
        settings: of all its workers; a worker may have others besides.
    """

    def __init__(self, app_id: str, environment: Mapping[str, str], folder: Path, **settings: str) -> None:
        self.app_id = app_id
        self.workers: list[Worker] = []
        self._environment = {**environment, "ORDERS_APP_ID": app_id, **settings}
        self._folder = folder

    def worker(self, **settings: str) -> Worker:
        """Start another worker, and wait until it is ready."""
        [port] = free_ports(["worker"]).values()
        folder = self._folder / self.app_id
        worker = Worker(web_port=port, environment=self._environment | settings, folder=folder)
        self.workers.append(worker)
        worker.start()
        worker.wait_ready()
        return worker

    def stop(self) -> None:
        """End all workers; each has to end by itself."""
        assert [worker.stop() for worker in self.workers] == [True] * len(self.workers)


class FedShop:
    """A shop whose change topics a test writes.

    Attributes:
        tail: the output topics.
        complete: ids of the orders that were written with all of their products.
    """

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.dataset = f"shop_{uuid.uuid4().hex[:8]}"
        definitions = define_dataset(folder / "datasets", self.dataset)
        self.environment = stack.environment() | {"DATASET": self.dataset, "DATASETS_DIR": str(definitions)}
        self.bootstrap = self.environment["KAFKA_BOOTSTRAP"]
        self.complete: list[str] = []
        self.deployments: list[Deployment] = []
        self._folder = folder
        self._position = 1_000
        self._producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "partitioner": "murmur2",
                "transactional.id": self.dataset,
                "log_level": 2,
            }
        )
        self._producer.init_transactions(30)
        self.apply_topics("none")
        self.tail = TopicTail(self.bootstrap, [ORDER_FINAL, ORDER_AMENDED, ORDER_INCOMPLETE, DEAD_LETTERS])

    def apply_topics(self, app_id: str) -> None:
        """Create what an application needs."""
        settings = KafkaSettings.read(self.environment)
        apply_topics(settings, catalogue(dataset=self.dataset, app_id=app_id, order_partitions=PARTITIONS))

    def deployment(self, **settings: str) -> Deployment:
        """An application of its own, without a worker so far."""
        app_id = f"{self.dataset}-orders-{len(self.deployments) + 1}"
        self.apply_topics(app_id)
        self.deployments.append(Deployment(app_id, self.environment, self._folder, **settings))
        return self.deployments[-1]

    def new_folder(self) -> Path:
        """Another disk."""
        return self._folder / uuid.uuid4().hex

    def close(self) -> None:
        """End the workers that still run, and delete the shop's topics."""
        for deployment in self.deployments:
            for worker in deployment.workers:
                worker.stop()
        self.tail.close()
        self._delete_topics()

    def _delete_topics(self) -> None:
        """Delete what only this shop uses, so that the shared broker keeps few partitions."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        own = [name for name in admin.list_topics(timeout=10).topics if self.dataset in name]
        for deletion in admin.delete_topics(own).values():
            deletion.result(30)

    # -- what comes in ------------------------------------------------------------------------------------------------

    def order(self, *, num_products: int = 1, lines: int = 1, order_id: str | None = None, **columns: Any) -> str:
        """Write an order and some of its lines, each topic in a transaction; returns its id."""
        id_ = order_id or new_id()
        row = order_row(id_, num_products=num_products, timestamp="2026-01-02T03:04:05Z", **columns)
        self.write("orders", id_, row)
        for product_id in range(1, lines + 1):
            self.write("order_details", id_, detail_row(id_, product_id))
        if lines >= num_products:
            self.complete.append(id_)
        return id_

    def write(self, table: str, key: str, row: dict[str, Any], *, op: Any = created) -> None:
        """Write a change in a transaction, as an exactly-once connector does."""
        self.write_raw(table, key, op(row, at=self._next_position(), at_ms=int(time.time() * 1000)))

    def write_raw(
        self, table: str, key: str, *values: bytes | None, delivered: Callable[[Message], object] | None = None
    ) -> None:
        """Write records as they are; `delivered` is called with each of them as Kafka has it."""

        def report(_error: object, message: Message) -> None:
            if delivered is not None:
                delivered(message)

        self._producer.begin_transaction()
        for value in values:
            topic = change_topic(self.dataset, table)
            self._producer.produce(topic, key=key.encode(), value=value, on_delivery=report)
        self._producer.commit_transaction(30)

    def orders(self, count: int) -> list[str]:
        """Write complete orders, all in one transaction."""
        ids = [new_id() for _ in range(count)]
        now_ms = int(time.time() * 1000)
        self._producer.begin_transaction()
        for id_ in ids:
            row = created(order_row(id_, num_products=1), at=self._next_position(), at_ms=now_ms)
            line = created(detail_row(id_), at=self._next_position(), at_ms=now_ms)
            for table, value in (("orders", row), ("order_details", line)):
                self._producer.produce(change_topic(self.dataset, table), key=id_.encode(), value=value)
        self._producer.commit_transaction(30)
        self.complete += ids
        return ids

    def replay(self, order_id: str) -> None:
        """Write the changes of an order once more, as later reads of the same rows."""
        self.write("orders", order_id, order_row(order_id, num_products=1), op=snapshot_read)
        self.write("order_details", order_id, detail_row(order_id), op=snapshot_read)

    @contextlib.contextmanager
    def load(self) -> Iterator[None]:
        """Write complete orders all the while."""

        def run(stop: threading.Event) -> None:
            while not stop.wait(LOAD_PAUSE_S):
                self.orders(ORDERS_PER_PAUSE)

        with in_background(run, "load"):
            yield

    def _next_position(self) -> Any:
        self._position += 1
        return position(self._position)

    # -- what comes out -----------------------------------------------------------------------------------------------

    def emitted(self, wait_s: float = 0.5) -> Counter[str]:
        """How often each complete order of this shop is in the topic, with what comes within `wait_s`."""
        self.tail.poll(wait_s)
        known = set(self.complete)
        return Counter(record.key for record in self.tail.of(ORDER_FINAL) if record.key in known)

    def wait_emitted(self) -> None:
        """Wait until every complete order came out; none may come twice."""
        until(lambda: len(self.emitted(0.05)) == len(set(self.complete)), "every complete order is emitted")
        self.tail.poll(0.5)
        assert [id_ for id_, times in self.emitted().items() if times > 1] == []

    # -- servers and commands -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def redis(self) -> Iterator[Any]:
        """A client of the locks' database."""
        url = RedisSettings.read(self.environment).url
        with contextlib.closing(redis.Redis.from_url(url, db=DATABASE, decode_responses=True)) as client:
            yield client

    def lock(self, order_id: str) -> str | None:
        """The value of an order's lock."""
        with self.redis() as client:
            found: str | None = client.get(lock_key(order_id))
            return found

    def kill_redis_with_its_data(self) -> None:
        """End Redis as a crash of its machine would, disk included."""
        self.stack.kill("redis")
        shutil.rmtree(self.stack.site.data("redis"))

    def lose_state(self, app_id: str) -> None:
        """Delete the consumer group and the changelog of an application without workers, and recreate the topics."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self.delete_group(app_id)
        changelog = order_state_changelog(app_id)
        admin.delete_topics([changelog])[changelog].result()
        until(lambda: changelog not in admin.list_topics(timeout=10).topics, "the changelog is gone")
        self.apply_topics(app_id)

    def delete_group(self, app_id: str) -> None:
        """Delete the consumer group of an application without workers: it begins at the earliest offsets again."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.delete_consumer_groups([app_id])[app_id].result()


@contextlib.contextmanager
def kafka_and_redis(folder: Path) -> Iterator[Stack]:
    """Servers without a database."""
    with Stack.at(folder, ports=free_ports(), servers=["kafka", "redis"], die_with_parent=True) as stack:
        yield stack


def locks(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m stack locks`, as a user does."""
    command = [sys.executable, "-m", "stack", "locks", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment_with(environment), capture_output=True, text=True)


def locks_of(environment: Mapping[str, str], app_id: str) -> tuple[int, int]:
    """Claimed and emitted locks of an application, as the command lists them."""
    rows = [row.split() for row in locks(environment, "list").stdout.splitlines()[1:]]
    return tuple(sum(int(row[column]) for row in rows if row[0] == app_id) for column in (2, 3))  # type: ignore[return-value]


def stats_of(worker: Worker) -> dict[str, Any]:
    """A worker's `/stats/` page."""
    answer = requests.get(f"{worker.url}/stats/", timeout=10)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def incomplete_of(worker: Worker, limit: int | str = 100) -> dict[str, Any]:
    """A worker's list of incomplete orders."""
    answer = requests.get(f"{worker.url}/orders/incomplete?limit={limit}", timeout=10)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def metrics_of(worker: Worker) -> Metrics:
    """The metrics as Prometheus reads them: a value by sample name and labels."""
    answer = requests.get(f"{worker.url}/metrics", timeout=10)
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def metric(worker: Worker, name: str, **labels: str) -> float:
    """One value, 0 if it is not there."""
    return metrics_of(worker).get((name, frozenset(labels.items())), 0.0)


@contextlib.contextmanager
def changing_rows(
    put: Callable[[int], object], delete: Callable[[int], object], *, ids: Sequence[int], draw: random.Random
) -> Iterator[None]:
    """Put and delete rows at random during the block."""

    def run(stop: threading.Event) -> None:
        while not stop.wait(0.01):
            number = draw.choice(ids)
            if draw.random() < 0.2:
                delete(number)
            else:
                put(number)

    with in_background(run, "rows"):
        yield
