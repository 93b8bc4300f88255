"""Fixtures of the order tests: one pipeline with a small snapshot, a connector and a worker; and shops without a
database, whose change topics a test writes, on servers that the package shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.definition import OrdersGenerator
from config.settings import ConnectSettings, KafkaSettings
from demo.workers import Worker
from ops.connector.apply import apply_connector
from ops.connector.first_reads import read_all
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name, connector_settings
from ops.connector.signal_table import create_signal_table
from ops.database import connected
from ops.dataset.bulk import OnDuplicate
from ops.dataset.generator.files import write_files
from ops.dataset.generator.load import load_files
from ops.dataset.generator.plan import make_plan
from ops.dataset.schema import create_schema
from ops.topics import apply_topics
from stack.local import Stack
from stack.ports import free_ports
from streams.topics import DEAD_LETTERS, ORDER_AMENDED, ORDER_FINAL, catalogue
from tests.streams.orders.deployments import FedShop, kafka_and_redis
from tests.streams.orders.live_shop import Shop, TopicTail

SNAPSHOT_SIZE = 0.04


@pytest.fixture(scope="package")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Servers with a loaded database, topics and a running connector."""
    folder = tmp_path_factory.mktemp("orders")
    servers = ["kafka", "connect", "mariadb", "redis"]
    with Stack.at(folder / "stack", ports=free_ports(), servers=servers, die_with_parent=True) as stack:
        _load(stack, folder)
        _capture(stack)
        yield stack


def _load(stack: Stack, folder: Path) -> None:
    definition, settings = load_definition("project_db"), DatabaseSettings.read(stack.environment())
    assert isinstance(definition.generator, OrdersGenerator)
    with connected(settings) as connection:
        create_schema(connection, definition)
        create_signal_table(connection)
    plan = make_plan(definition.generator, size=SNAPSHOT_SIZE, customers=1_000)
    paths = write_files(definition.generator, plan, folder, print)
    load_files(settings, definition, paths, OnDuplicate.FAIL, print)


def _capture(stack: Stack) -> None:
    definition, environment = load_definition("project_db"), stack.environment()
    apply_topics(
        KafkaSettings.read(environment),
        catalogue(dataset="project_db", app_id="millrace-orders", order_partitions=4),
    )
    settings = ConnectSettings.read(environment)
    with ConnectClient(settings.url) as connect:
        apply_connector(connect, connector_name("project_db"), connector_settings(definition, settings))
        read_all(definition, DatabaseSettings.read(environment), KafkaSettings.read(environment), connect)


@pytest.fixture(scope="package")
def shop(pipeline: Stack) -> Iterator[Shop]:
    """The database that tests change and the topics that they read."""
    environment = pipeline.environment()
    tail = TopicTail(environment["KAFKA_BOOTSTRAP"], [ORDER_FINAL, ORDER_AMENDED, DEAD_LETTERS])
    yield Shop(environment, tail)
    tail.close()


@pytest.fixture(scope="module")
def worker(pipeline: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that is ready; each module begins with one on an empty disk."""
    [port] = free_ports(["worker"]).values()
    worker = Worker(web_port=port, environment=pipeline.environment(), folder=tmp_path_factory.mktemp("worker"))
    worker.start()
    worker.wait_ready()
    yield worker
    assert worker.stop(), "a worker ends gracefully"


class NewWorker(Protocol):
    """Makes a worker that is not started yet; its state is in `STATE_DIR`, by default `state` in its folder."""

    def __call__(self, folder: Path, *, program: tuple[str, ...] = ("faust",), **settings: str) -> Worker: ...


@pytest.fixture
def new_worker(pipeline: Stack) -> Iterator[NewWorker]:
    """Workers with settings of their own; none of them outlives the test."""
    workers: list[Worker] = []

    def make(folder: Path, *, program: tuple[str, ...] = ("faust",), **settings: str) -> Worker:
        [port] = free_ports(["worker"]).values()
        environment = {**pipeline.environment(), **settings}
        worker = Worker(web_port=port, environment=environment, folder=folder, program=program)
        workers.append(worker)
        return worker

    yield make
    for worker in workers:
        worker.stop()


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka and Redis without a database; a test may stop them, and starts them again."""
    with kafka_and_redis(tmp_path_factory.mktemp("servers")) as stack:
        yield stack


@pytest.fixture(scope="package")
def servers_for_bad_records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka and Redis whose output topics hold records that no other test expects there."""
    with kafka_and_redis(tmp_path_factory.mktemp("bad-records")) as stack:
        yield stack


@pytest.fixture
def fed(servers: Stack, tmp_path: Path) -> Iterator[FedShop]:
    """A shop of its own, whose changes the test writes; Redis is back afterwards."""
    shop = FedShop(servers, tmp_path)
    yield shop
    servers.resume("redis")
    servers.start("redis")
    shop.close()
