"""Start a testbed: its servers, a small dataset, the connector, and the workers of given applications."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

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
from streams.topics import catalogue
from tests.support.lake.testbed import LakeTestbed

SNAPSHOT_SIZE: Final = 0.02
CUSTOMERS: Final = 1_000
SERVERS: Final = ("kafka", "connect", "mariadb", "redis", "minio")


@contextmanager
def opened_testbed(
    folder: Path, applications: Sequence[str], *, say: Callable[[str], None] = print
) -> Iterator[LakeTestbed]:
    """Yield a testbed with a loaded shop and a worker of each given application; its lake is still empty."""
    with Stack.at(folder / "stack", ports=free_ports(), servers=SERVERS, die_with_parent=True) as stack:
        testbed = LakeTestbed(stack, folder)
        _load(testbed, say)
        _capture(testbed)
        workers = [_worker(testbed, application) for application in applications]
        try:
            for worker in workers:
                worker.wait_ready()
            yield testbed
        finally:
            testbed.close()
            for worker in workers:
                worker.stop()


def _worker(testbed: LakeTestbed, application: str) -> Worker:
    [port] = free_ports(["worker"]).values()
    environment = testbed.stack.environment() | {"ARCHIVE_FLUSH_S": "0.5"}
    worker = Worker(
        web_port=port, environment=environment, folder=testbed.folder / application, application=application
    )
    worker.start()
    return worker


def _load(testbed: LakeTestbed, say: Callable[[str], None]) -> None:
    definition, settings = load_definition("project_db"), DatabaseSettings.read(testbed.environment)
    assert isinstance(definition.generator, OrdersGenerator)
    with connected(settings) as connection:
        create_schema(connection, definition)
        create_signal_table(connection)
    plan = make_plan(definition.generator, size=SNAPSHOT_SIZE, customers=CUSTOMERS)
    paths = write_files(definition.generator, plan, testbed.folder, say)
    load_files(settings, definition, paths, OnDuplicate.FAIL, say)


def _capture(testbed: LakeTestbed) -> None:
    apply_topics(
        KafkaSettings.read(testbed.environment),
        catalogue(dataset="project_db", app_id="millrace-orders", order_partitions=4),
    )
    definition, settings = load_definition("project_db"), ConnectSettings.read(testbed.environment)
    database, kafka = DatabaseSettings.read(testbed.environment), KafkaSettings.read(testbed.environment)
    with ConnectClient(settings.url) as connect:
        apply_connector(connect, connector_name("project_db"), connector_settings(definition, settings))
        read_all(definition, database, kafka, connect)
