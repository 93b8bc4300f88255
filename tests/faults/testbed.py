"""Testbed of the fault scenarios: one stack for many of them, with empty tables and topics for each."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ClassVar, Final, Self

from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.definition import OrdersGenerator
from config.settings import ConnectSettings, KafkaSettings
from ops.connector.apply import apply_connector, wait_running
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
from stack.ports import DEFAULT_PORTS, HOST, free_ports
from stack.process import ProcessState
from stack.record import process_state
from stack.servers import kafka as kafka_server
from stack.site import REPOSITORY, Site
from streams.topics import DEAD_LETTERS, ORDER_AMENDED, ORDER_FINAL, ORDER_INCOMPLETE, catalogue
from tests.faults import cluster
from tests.faults.fault_shop import DATASET, DETAILS_TOPIC, ORDERS_TOPIC, FaultShop
from tests.faults.kafka_proxy import KafkaProxy
from tests.faults.network import Network
from tests.faults.result import Say
from tests.faults.worker_pool import WorkerPool
from tests.support.kafka import delete_topics, empty_topics

PARTITIONS: Final = 6
WORKERS: Final = 3
SPARES: Final = 2
OUTPUTS: Final = (ORDER_FINAL, ORDER_AMENDED, ORDER_INCOMPLETE, DEAD_LETTERS)
TRIES: Final = 5
CUSTOMERS: Final = 1_000
CONNECT_LIMIT_S: Final = 60.0
LOGS: Final = REPOSITORY / ".faults" / "logs"


class FaultTestbed:
    """A stack with a captured shop; scenarios follow each other on it.

    Attributes:
        servers: names of the servers of the stack.
        network: another way to the servers, for workers and a connector that are to meet faults of the network.
    """

    servers: ClassVar[tuple[str, ...]] = ("kafka", "connect", "mariadb", "redis")
    worker_settings: ClassVar[Mapping[str, str]] = {}
    """Settings that all workers get, from the command line."""

    def __init__(self, stack: Stack, folder: Path, network: Network, say: Say) -> None:
        self.stack = stack
        self.network = network
        self.folder = folder
        self.environment: Mapping[str, str] = {**stack.environment(), "ORDER_PARTITIONS": str(PARTITIONS)}
        self.kafka = KafkaSettings.read(self.environment)
        self.database = DatabaseSettings.read(self.environment)
        self.connect = ConnectSettings.read(self.environment)
        self.definition = load_definition(DATASET)
        self._worker_ports = list(free_ports([f"worker-{n}" for n in range(WORKERS + SPARES)]).values())
        self.epoch = 0
        self._scenarios = 0
        self._say = say

    @classmethod
    @contextmanager
    def opened(cls, say: Say) -> Iterator[Self]:
        """Open a new stack in a temporary folder, with schema and connector but no data; deleted at the end."""
        folder = Path(tempfile.mkdtemp(prefix="millrace-faults-"))
        began = time.monotonic()
        [inner] = free_ports(["kafka-proxied"]).values()
        ports = cls._ports()
        with Network.opened(ports, kafka_port=inner) as network, cls._kafka(network):
            stack = Stack.at(folder / "stack", ports=ports, servers=cls.servers, die_with_parent=True)
            try:
                cls._start(stack)
                testbed = cls(stack, folder, network, say)
                testbed._load()
                testbed.capture()
                testbed.wait_snapshot()
                say(f"servers and connector are up after {time.monotonic() - began:.0f} s, in {folder}")
                yield testbed
            finally:
                stack.down()
                shutil.rmtree(folder, ignore_errors=True)

    @classmethod
    def _kafka(cls, network: Network) -> AbstractContextManager[None]:
        """Return the context in which Kafka is configured and started."""
        return _advertised(network.kafka)

    @classmethod
    def _ports(cls) -> Mapping[str, int]:
        return free_ports()

    @classmethod
    def _start(cls, stack: Stack) -> None:
        stack.up()

    def _load(self) -> None:
        with connected(self.database) as connection:
            create_schema(connection, self.definition)
            create_signal_table(connection)
        assert isinstance(self.definition.generator, OrdersGenerator)
        plan = make_plan(self.definition.generator, orders=1, customers=CUSTOMERS)
        paths = write_files(self.definition.generator, plan, self.folder / "csv")
        load_files(self.database, self.definition, paths, OnDuplicate.FAIL, lambda line: None)

    # -- one scenario -------------------------------------------------------------------------------------------------

    def app_id(self) -> str:
        """Application id of the current scenario."""
        return f"faults-{self._scenarios}"

    def clear(self, shop: FaultShop) -> None:
        """Begin a scenario: empty tables and topics, another application."""
        self._scenarios += 1
        shop.clear()
        shop.wait_captured()
        empty_topics(self.kafka.bootstrap, ORDERS_TOPIC, DETAILS_TOPIC)
        # Emptied ones would be full again after a SIGKILL: the broker notes only once a minute where its topics begin.
        delete_topics(self.kafka.bootstrap, *OUTPUTS)
        apply_topics(self.kafka, catalogue(dataset=DATASET, app_id=self.app_id(), order_partitions=PARTITIONS))

    def pool(self, program: Sequence[str], settings: Mapping[str, str]) -> WorkerPool:
        """Make the workers of the current scenario."""
        return WorkerPool(
            ports=self._worker_ports,
            size=WORKERS,
            partitions=PARTITIONS,
            environment={**self.environment, **self.worker_settings, "ORDERS_APP_ID": self.app_id(), **settings},
            folder=self.folder / self.app_id(),
            program=program,
        )

    def keep_logs(self, name: str) -> Path:
        """Copy the logs of the servers and of the current scenario's workers to a folder that is kept."""
        target = LOGS / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        logs = [*(self.stack.site.folder / "logs").glob("*.log"), *(self.folder / self.app_id()).rglob("worker-*.log")]
        for number, log in enumerate(logs):
            shutil.copy(log, target / f"{number}-{log.name}")
        return target

    # -- servers ------------------------------------------------------------------------------------------------------

    def capture(self, **changed: str) -> None:
        """Run the connector with its usual settings, or with some changed."""
        apply_topics(self.kafka, catalogue(dataset=DATASET, app_id=self.app_id(), order_partitions=PARTITIONS))
        with ConnectClient(self.connect.url) as connect:
            settings = connector_settings(self.definition, self.connect, epoch=self.epoch) | changed
            apply_connector(connect, connector_name(DATASET), settings)

    def kill(self, server: str) -> None:
        """SIGKILL a server."""
        self.stack.kill(server)

    def wait_connector(self) -> None:
        """Wait until the connector runs."""
        with ConnectClient(self.connect.url) as connect:
            wait_running(connect, connector_name(DATASET), limit_seconds=CONNECT_LIMIT_S)

    def wait_snapshot(self) -> None:
        """Wait until the connector has read all tables: a truncation meanwhile would make it fail."""
        with ConnectClient(self.connect.url) as connect:
            read_all(self.definition, self.database, self.kafka, connect, limit_s=CONNECT_LIMIT_S)

    def heal(self) -> None:
        """Restart servers that a fault has left down or frozen."""
        for server in self.servers:
            match process_state(self.stack.site.record(server)):
                case ProcessState.PAUSED:
                    self.stack.resume(server)
                case ProcessState.ENDED:
                    self._say(f"  starting {server} again")
        self._start(self.stack)


class ClusterTestbed(FaultTestbed):
    """A testbed with three Kafka nodes, which workers reach without a proxy."""

    servers: ClassVar[tuple[str, ...]] = (*cluster.NODES, "connect", "mariadb", "redis")

    @classmethod
    def _kafka(cls, network: Network) -> AbstractContextManager[None]:
        return cluster.three_nodes()

    @classmethod
    def _ports(cls) -> Mapping[str, int]:
        return free_ports([*DEFAULT_PORTS, *(name for name in cluster.PORT_NAMES if name not in DEFAULT_PORTS)])

    @classmethod
    def _start(cls, stack: Stack) -> None:
        """Start the nodes first, because Connect cannot create its topics with fewer nodes than replicas."""
        stack.up(only=list(cluster.NODES))
        cluster.Cluster(stack).wait_complete()
        stack.up()


@contextmanager
def _advertised(proxy: KafkaProxy) -> Iterator[None]:
    """Give brokers that start during the block a second listener, whose clients are sent to the proxy."""
    usual = kafka_server.broker_settings

    def settings(site: Site) -> dict[str, str]:
        plain = usual(site)
        return plain | {
            "listeners": f"{plain['listeners']},PROXIED://{HOST}:{proxy.target}",
            "advertised.listeners": f"{plain['advertised.listeners']},PROXIED://{proxy.address}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }

    kafka_server.broker_settings = settings
    try:
        yield
    finally:
        kafka_server.broker_settings = usual
