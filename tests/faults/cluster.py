"""Three Kafka nodes instead of one, as processes: each is both broker and controller, every topic is on all of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from stack.local import Stack
from stack.ports import HOST
from stack.servers import SERVERS
from stack.servers import connect as connect_server
from stack.servers.base import Server
from stack.servers.kafka import Kafka, broker_settings
from stack.site import Site
from tests.support.kafka import ANSWER_S, admin

REPLICAS: Final = 3
MIN_INSYNC: Final = 2
IN_SYNC_LIMIT_S: Final = 120.0
POLL_S: Final = 0.2

_CLUSTER_ID: Final = "MkU3OEVBNTcwNTJENDM2Qk"


class Node(Kafka):
    """A node of the cluster, with a small heap."""

    heap: ClassVar[tuple[str, ...]] = ("-Xms128m", "-Xmx320m")
    number: ClassVar[int] = 1

    def settings(self, site: Site) -> dict[str, str]:
        """Return the settings of one node, with which everything is on three nodes and a write needs two of them."""
        broker, controller = (site.address(name) for name in self.port_names)
        replicas, insync = str(REPLICAS), str(MIN_INSYNC)
        return broker_settings(site) | {
            "node.id": str(self.number),
            "controller.quorum.voters": ",".join(
                f"{node.number}@{site.address(node.port_names[1])}" for node in NODES.values()
            ),
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "log.dirs": str(site.data(self.name)),
            "default.replication.factor": replicas,
            "min.insync.replicas": insync,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": insync,
        }

    def new_cluster_id(self) -> str:
        """Return the id that all nodes share."""
        return _CLUSTER_ID

    def environment(self, site: Site) -> dict[str, str]:
        """Return the addresses of all nodes, and the number of replicas."""
        return {"KAFKA_BOOTSTRAP": _bootstrap(site), "REPLICATION_FACTOR": str(REPLICAS)}


class _Second(Node):
    name: ClassVar[str] = "kafka-2"
    port_names: ClassVar[tuple[str, ...]] = ("kafka-2", "kafka-2-controller")
    number: ClassVar[int] = 2


class _Third(Node):
    name: ClassVar[str] = "kafka-3"
    port_names: ClassVar[tuple[str, ...]] = ("kafka-3", "kafka-3-controller")
    number: ClassVar[int] = 3


NODES: Final[Mapping[str, Node]] = {node.name: node for node in (Node(), _Second(), _Third())}
PORT_NAMES: Final = tuple(port for node in NODES.values() for port in node.port_names)


@contextmanager
def three_nodes() -> Iterator[None]:
    """Let stacks of this process have three Kafka nodes during the block; Connect keeps its topics on all of them."""
    servers: Mapping[str, Server] = dict(SERVERS)
    usual = connect_server.worker_settings

    def worker_settings(site: Site) -> dict[str, str]:
        topics = {f"{kind}.storage.replication.factor": str(REPLICAS) for kind in ("config", "offset", "status")}
        return usual(site) | {"bootstrap.servers": _bootstrap(site)} | topics

    SERVERS.clear()
    SERVERS.update({**NODES, **{name: server for name, server in servers.items() if name not in NODES}})
    connect_server.worker_settings = worker_settings
    try:
        yield
    finally:
        connect_server.worker_settings = usual
        SERVERS.clear()
        SERVERS.update(servers)


class Cluster:
    """The running nodes of a stack, by their part in the cluster."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._bootstrap = _bootstrap(stack.site)

    def leader(self, topic: str, partition: int) -> str:
        """Return the node that leads a partition."""
        return _node(self._topics()[topic].partitions[partition].leader)

    def led(self, node: str) -> int:
        """Return how many partitions a node leads."""
        partitions = [each for topic in self._topics().values() for each in topic.partitions.values()]
        return sum(each.leader == NODES[node].number for each in partitions)

    def coordinator(self, group: str) -> str:
        """Return the node that coordinates a consumer group."""
        client = admin(self._bootstrap)
        [answer] = client.describe_consumer_groups([group], request_timeout=ANSWER_S).values()
        return _node(answer.result(ANSWER_S).coordinator.id)

    def controller(self) -> str:
        """Return the active controller, which Kafka does not tell its clients; each node keeps it in a file."""
        states = []
        for name in NODES:
            path = self._stack.site.data(name) / "__cluster_metadata-0" / "quorum-state"
            state = json.loads(path.read_text())
            if state["leaderId"] > 0:
                states.append((state["leaderEpoch"], state["leaderId"]))
        return _node(max(states)[1])

    def wait_complete(self) -> None:
        """Wait until every node is a broker of the cluster.

        Raises:
            TimeoutError: some are not within the limit.
        """
        deadline = time.monotonic() + IN_SYNC_LIMIT_S
        while len(admin(self._bootstrap).list_topics(timeout=ANSWER_S).brokers) < len(NODES):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all nodes are brokers after {IN_SYNC_LIMIT_S:.0f} s")
            time.sleep(POLL_S)

    def wait_in_sync(self) -> None:
        """Wait until every replica of every partition is in sync.

        Raises:
            TimeoutError: some are not within the limit.
        """
        deadline = time.monotonic() + IN_SYNC_LIMIT_S
        while behind := self._behind():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not in sync after {IN_SYNC_LIMIT_S:.0f} s: {behind[:5]}")
            time.sleep(POLL_S)

    def _behind(self) -> list[str]:
        return [
            f"{name}/{partition.id} {partition.isrs}"
            for name, topic in self._topics().items()
            for partition in topic.partitions.values()
            if len(partition.isrs) < len(partition.replicas)
        ]

    def _topics(self) -> Mapping[str, Any]:
        return admin(self._bootstrap).list_topics(timeout=ANSWER_S).topics


def _bootstrap(site: Site) -> str:
    return ",".join(f"{HOST}:{site.ports[name]}" for name in NODES)


def _node(number: int) -> str:
    return next(name for name, node in NODES.items() if node.number == number)
