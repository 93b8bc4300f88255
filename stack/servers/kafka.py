"""Kafka: one node in KRaft mode that is both broker and controller."""

from __future__ import annotations

import logging
import secrets
import socket
from typing import ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stack.artifacts.java import fetch_java
from stack.job import Job
from stack.ports import HOST
from stack.prerequisites import Prerequisite
from stack.servers.base import Command, Server, UnhealthyError
from stack.servers.jvm import java_command, java_prerequisites, properties
from stack.site import Site

_ANSWER_SECONDS = 3.0
_CLUSTER_ID_BYTES = 16
_YEAR_MINUTES = 365 * 24 * 60
# The cleaner's default buffer of 128 MiB is a sixth of the heap; this one still holds over a million keys.
_CLEANER_BUFFER_BYTES = 32 * 1024 * 1024
# An open transaction of any client holds up every read-committed reader; Kafka's default allows a quarter of an hour.
# Connect needs as much: before it deletes a connector's offsets, it fences its producers with transactions that may
# take as long as its REST requests, 90 s; otherwise it answers 500, "Failed to perform zombie fencing".
_LONGEST_TRANSACTION_MS = 90_000
_silent = logging.getLogger("stack.kafka.health")
_silent.disabled = True


class Kafka(Server):
    """The Kafka broker. A subclass may be a node of a cluster, with a name, ports and settings of its own.

    Attributes:
        heap: sizes of the Java heap.
    """

    name: ClassVar[str] = "kafka"
    port_names: ClassVar[tuple[str, ...]] = ("kafka", "kafka-controller")
    heap: ClassVar[tuple[str, ...]] = ("-Xms256m", "-Xmx768m")

    def prerequisites(self, site: Site) -> list[Prerequisite]:
        """Return Java, and also Maven while the jars are not in the cache."""
        return java_prerequisites(site)

    def fetch(self, site: Site, job: Job) -> None:
        """Download the jars of Kafka, Connect and Debezium if they are missing."""
        fetch_java(site.cache, job)

    def prepare(self, site: Site, job: Job) -> None:
        """Write the settings file, and format the data folder if it is new."""
        conf = site.write_secret(f"{self.name}.properties", properties(self.settings(site)))
        if (site.data(self.name) / "meta.properties").exists():
            return
        arguments = ["format", "--ignore-formatted", f"--cluster-id={self.new_cluster_id()}", "-c", str(conf)]
        command = java_command(site, "-XX:+UseSerialGC", main=["kafka.tools.StorageTool", *arguments])
        job.run(command, purpose="formatting Kafka's data folder")

    def command(self, site: Site) -> Command:
        """Return the start command, with the G1 collector, because a long pause would stall every client."""
        options = [*self.heap, "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]
        main = ["kafka.Kafka", str(site.conf(f"{self.name}.properties"))]
        return Command(arguments=java_command(site, *options, main=main))

    def settings(self, site: Site) -> dict[str, str]:
        """Return the settings of the broker."""
        return broker_settings(site)

    def new_cluster_id(self) -> str:
        """Return the id of the cluster whose data folder is formatted."""
        return secrets.token_urlsafe(_CLUSTER_ID_BYTES)

    def check(self, site: Site) -> None:
        """Request the cluster's metadata from the broker."""
        port = site.ports[self.name]
        try:
            socket.create_connection((HOST, port), timeout=_ANSWER_SECONDS).close()
            admin = AdminClient({"bootstrap.servers": site.address(self.name)}, logger=_silent)
            admin.list_topics(timeout=_ANSWER_SECONDS)
        except OSError:
            raise UnhealthyError(f"nothing listens on port {port}") from None
        except KafkaException as error:
            raise UnhealthyError(f"no answer: {error.args[0].str()}") from None

    def environment(self, site: Site) -> dict[str, str]:
        """Return the broker's address."""
        return {"KAFKA_BOOTSTRAP": site.address("kafka")}


def broker_settings(site: Site) -> dict[str, str]:
    """Build the settings of the Kafka broker."""
    broker, controller = site.address("kafka"), site.address("kafka-controller")
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(site.data("kafka")),
        # Topics are created from the catalogue; automatic creation could give them another partition count.
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
        # Committed offsets must outlive any pause of a consumer: a group without them starts from the beginning.
        "offsets.retention.minutes": str(_YEAR_MINUTES),
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.max.timeout.ms": str(_LONGEST_TRANSACTION_MS),
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(_CLEANER_BUFFER_BYTES),
    }
