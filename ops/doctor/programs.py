"""What is asked of the programs that move data: Kafka Connect, Spark, and the workers."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from confluent_kafka import ConsumerGroupState, KafkaException

from config.settings import (
    ArchiveSettings,
    ConnectSettings,
    DatasetSettings,
    KafkaSettings,
    LookupsSettings,
    MetricsSettings,
    SparkSettings,
    WarehouseSettings,
)
from ops.connector.apply import failure_of
from ops.connector.epochs import running_epoch
from ops.connector.postgres import PostgresSource
from ops.connector.rest import LITTLE, ConnectClient
from ops.connector.settings import connector_name
from ops.consumer_groups import Group, described_groups
from ops.doctor.finding import Finding, Subject, ok, unused, warning, wrong
from stack.errors import StackError
from stack.prerequisites import JAVA, fault_of

ANSWER_S: Final = 10.0
DELTA_JARS: Final = "delta-spark*.jar"


def connect(subject: Subject) -> Iterator[Finding]:
    """Look at the dataset's connector and its tasks, and for PostgreSQL at its slot."""
    definition, name = subject.definition, connector_name(subject.definition.name)
    if all(table.feed == "jdbc" for table in definition.tables):
        yield unused(f"no table of {definition.name} is fed by changes")
        return
    with ConnectClient(ConnectSettings.read(subject.environment).url, LITTLE) as client:
        status = client.status(name)
        if status is None:
            yield wrong(f"there is no connector {name}: run `millrace connector apply`")
            return
        states = {status["connector"]["state"], *(task["state"] for task in status["tasks"])}
        failure, is_running = failure_of(status), states == {"RUNNING"} and bool(status["tasks"])
        if failure:
            yield wrong(f"{name} failed: {failure}: mend the cause, then run `millrace connector apply`")
        elif not is_running:
            yield warning(f"{name} is {', '.join(sorted(states)).lower()}: run `millrace connector status`")
        elif definition.engine == "postgres":
            source = PostgresSource(definition, subject.environment, client)
            lines, arrives = source.status_lines(running_epoch(client, name))
            if not arrives:
                yield wrong("; ".join(line.strip() for line in lines))
                return
    if is_running:
        yield ok(f"{name} and its task are running")


def spark(subject: Subject) -> Iterator[Finding]:
    """Look at Java, the jars, and the cluster's address if there is one."""
    settings = SparkSettings.read(subject.environment)
    java = "java" if settings.java_home is None else str(settings.java_home / "bin" / "java")
    fault = fault_of(replace(JAVA, command=(java, *JAVA.command[1:])))
    if fault:
        yield wrong(fault)
    if not any(settings.jars.glob(DELTA_JARS)):
        yield wrong(f"SPARK_JARS: {settings.jars} has no {DELTA_JARS}: run `millrace up`, or copy the jars there")
    unreachable = None if settings.master.startswith("local") else _unreachable(settings.master)
    if unreachable:
        yield wrong(f"SPARK_MASTER: can't reach {settings.master}: {unreachable}; is the cluster running?")
    if not fault and not unreachable:
        yield ok(f"{settings.master}, {settings.driver_memory} for the driver")


def _unreachable(master: str) -> str | None:
    parts = urlsplit(master)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 7077), ANSWER_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def faust(subject: Subject) -> Iterator[Finding]:
    """Count the workers of each application; that of the orders must have one, the others if they ever had."""
    kafka = KafkaSettings.read(subject.environment)
    orders = DatasetSettings.read(subject.environment).orders_app_id
    found = _workers(kafka, _applications(subject))
    for app, group in found.items():
        is_needed = app == orders and subject.definition.completes_orders
        if group.is_gone and (is_needed or group.state is ConsumerGroupState.EMPTY):
            text = f"{app} has no worker: start one with `millrace worker`"
            yield wrong(text) if is_needed else warning(text)
        elif not group.is_gone and group.state is not ConsumerGroupState.STABLE:
            yield warning(
                f"{app}: {group.members} workers, whose partitions are being assigned: look again in some seconds"
            )
    running = [f"{app} {group.members}" for app, group in found.items() if group.state is ConsumerGroupState.STABLE]
    if running:
        yield ok(f"workers: {', '.join(running)}")
    elif all(group.state is ConsumerGroupState.DEAD for group in found.values()) and orders not in found:
        yield unused("no application has ever had a worker")


def _applications(subject: Subject) -> list[str]:
    environment = subject.environment
    dataset = DatasetSettings.read(environment)
    ids = [ArchiveSettings.read(environment).archive_app_id, WarehouseSettings.read(environment).warehouse_app_id]
    ids.append(MetricsSettings.read(environment).metrics_app_id)
    if subject.definition.completes_orders:
        ids = [dataset.orders_app_id, LookupsSettings.read(environment).lookups_app_id, *ids]
    return ids


def _workers(kafka: KafkaSettings, apps: list[str]) -> Mapping[str, Group]:
    try:
        return described_groups(kafka.bootstrap, apps)
    except KafkaException as error:
        raise StackError(f"Kafka at {kafka.bootstrap} does not tell the workers: {error.args[0].str()}") from None
