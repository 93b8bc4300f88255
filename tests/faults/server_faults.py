"""Faults of the servers: rows 6, 8, 10, 11 and 23, and row R, a topic that rejects writes."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import requests
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported silently
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from ops.connector.settings import connector_name
from stack.servers import connect as connect_server
from stack.servers.mariadb import socket_path
from streams.topics import ORDER_FINAL
from tests.faults.fault_shop import DATASET, DETAILS_TOPIC, ORDERS_TOPIC
from tests.faults.invariants import repeats
from tests.faults.scenario import Scenario
from tests.faults.watching import watching
from tests.support.kafka import ANSWER_S, admin, read_topics

CONNECTOR_LIMIT_S: Final = 90.0
SWEEP_LIMIT_S: Final = 300.0
PURGE_LIMIT_S: Final = 20.0
REFUSED_BYTES: Final = 100
LARGE_BYTES: Final = 16 * 1024 * 1024


def restart_broker(scenario: Scenario) -> None:
    """SIGKILL the only broker under load and start it again; nothing else is touched.

    A broker that was killed may begin only when the controller, here the same process, has given up its former self.
    """
    for _ in range(scenario.dose.times):
        with scenario.backlog():
            scenario.testbed.kill("kafka")
            scenario.struck("killed the broker")
            scenario.pause(0.5, 3.0)
            began = time.monotonic()
            scenario.testbed.stack.start("kafka")
            scenario.struck(f"the broker is back; its start took {time.monotonic() - began:.1f} s")
        scenario.testbed.wait_connector()
        scenario.pool.settle()


def lose_redis(scenario: Scenario) -> None:
    """Kill Redis and delete its data, then make it unreachable for a while, with locks that last one second."""
    stack = scenario.testbed.stack
    for _ in range(scenario.dose.times):
        with scenario.backlog(shares=2 * scenario.dose.times):
            scenario.testbed.kill("redis")
            shutil.rmtree(stack.site.data("redis"))
            stack.start("redis")
            scenario.struck("killed Redis and deleted its data")
        with scenario.backlog(shares=2 * scenario.dose.times):
            scenario.testbed.kill("redis")
            scenario.say(f"    killed Redis; it stays away for {scenario.dose.outage_s:.0f} s")
            time.sleep(scenario.dose.outage_s)
            stack.start("redis")
            scenario.struck("Redis is back")
    scenario.pool.settle()


def refuse_batches(scenario: Scenario) -> None:
    """Let `order_final` reject every batch for a while, like a topic whose size limit was set too low."""
    for _ in range(scenario.dose.times):
        with scenario.backlog(), _largest_message(scenario, ORDER_FINAL, REFUSED_BYTES):
            scenario.say(f"    {ORDER_FINAL} refuses what is larger than {REFUSED_BYTES} bytes")
            time.sleep(scenario.dose.outage_s)
        scenario.struck(f"{ORDER_FINAL} takes everything again")


@contextmanager
def _largest_message(scenario: Scenario, topic: str, size_bytes: int) -> Iterator[None]:
    _set_largest_message(scenario, topic, size_bytes)
    try:
        yield
    finally:
        _set_largest_message(scenario, topic, LARGE_BYTES)


def _set_largest_message(scenario: Scenario, topic: str, size_bytes: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin(scenario.testbed.kafka.bootstrap)
    for answer in client.incremental_alter_configs([resource]).values():
        answer.result(ANSWER_S)


# -- Connect ----------------------------------------------------------------------------------------------------------


def kill_connect(scenario: Scenario) -> None:
    """SIGKILL Connect while it follows the log and while it reads a snapshot; with exactly-once source, then without.

    The log may repeat changes only without; what is published repeats nothing either way. The quick dose leaves out
    the snapshot without exactly-once.
    """
    for exactly_once in (True, False):
        with _source_guarantee(scenario, exactly_once=exactly_once):
            scenario.shop.wait_captured(streamed=True)
            before = _repeats_in(scenario)
            for _ in range(scenario.dose.times):
                with scenario.backlog(shares=4 * scenario.dose.times):
                    _kill(scenario, "connect", "following the log")
            scenario.shop.wait_captured()
            repeated = _repeats_in(scenario) - before
            scenario.notes["repeats_in_exactly_once" if exactly_once else "repeats_in_at_least_once"] = repeated
            if exactly_once and repeated:
                scenario.broken.append(f"{repeated} changes came twice although the source is exactly-once")
            if not exactly_once and not repeated:
                scenario.broken.append(
                    "no change came twice although the source is at-least-once: the kill hit nothing"
                )
            for _ in range(scenario.dose.times if exactly_once or scenario.dose.times > 1 else 0):
                _kill_in_snapshot(scenario)
    scenario.pool.settle()


def _kill(scenario: Scenario, server: str, when: str) -> None:
    scenario.testbed.kill(server)
    scenario.struck(f"killed {server}, {when}")
    scenario.pause(0.2, 1.0)
    scenario.testbed.stack.start(server)
    scenario.testbed.wait_connector()


def _kill_in_snapshot(scenario: Scenario, *, server: str = "connect") -> None:
    """Have the connector read all tables again, kill a server when rows begin to come; then back to the usual."""
    required = {"exactly.once.support": scenario.notes["exactly_once_support"]}
    before = _snapshot_rows(scenario)
    scenario.testbed.capture(**required, **{"snapshot.mode": "always"})
    scenario.pool.until(lambda: _snapshot_rows(scenario) > before, "a snapshot begins", CONNECTOR_LIMIT_S)
    _kill(scenario, server, "reading a snapshot")
    scenario.testbed.capture(**required)
    scenario.shop.wait_captured(streamed=True)


def vanish_in_snapshot(scenario: Scenario) -> None:
    """SIGKILL Connect and Kafka while a snapshot is read and the shop deletes rows; the watch sweeps what vanished.

    The deletions between two attempts are in no topic. Without the sweep, stream and store keep these rows: the
    scenario has proved nothing if there are none. The watch runs all the time, as an operator's does.
    """
    scenario.notes["exactly_once_support"] = "required"
    with watching(scenario, is_swept=scenario.is_swept) as watched:
        for _ in range(scenario.dose.times):
            with scenario.backlog():
                _kill_in_snapshot(scenario, server="connect")
                _kill_in_snapshot(scenario, server="kafka")
        watched.wait_swept(SWEEP_LIMIT_S)
        scenario.struck(f"{watched.gone} rows swept")
    scenario.notes["rows_swept"] = watched.gone
    if scenario.is_swept and not watched.gone:
        scenario.broken.append("no row vanished between two snapshots: the kills hit nothing")
    scenario.pool.settle()


@contextmanager
def _source_guarantee(scenario: Scenario, *, exactly_once: bool) -> Iterator[None]:
    """Connect with exactly-once source support, or restarted without it."""
    if exactly_once:
        scenario.notes["exactly_once_support"] = "required"
        yield
        return
    usual = connect_server.worker_settings
    setting = {"exactly.once.source.support": "disabled"}
    connect_server.worker_settings = lambda site: usual(site) | setting
    try:
        _restart_connect(scenario, "requested")
        yield
    finally:
        connect_server.worker_settings = usual
        _restart_connect(scenario, "required")


def _restart_connect(scenario: Scenario, support: str) -> None:
    scenario.notes["exactly_once_support"] = support
    if support == "requested":  # a worker without the guarantee refuses a connector that requires it
        scenario.testbed.capture(**{"exactly.once.support": support})
    scenario.testbed.stack.down(only=["connect"])
    scenario.testbed.stack.start("connect")
    scenario.testbed.wait_connector()
    if support == "required":
        scenario.testbed.capture()


class _Source(msgspec.Struct):
    file: str
    pos: int
    row: int
    table: str


class _Envelope(msgspec.Struct):
    op: str
    source: _Source


def _changes(scenario: Scenario) -> list[tuple[Any, ...]]:
    """Table, key, operation and position of every change in the source topics; without the injected bad records."""
    decode, found = msgspec.json.Decoder(_Envelope).decode, []
    for record in read_topics(scenario.testbed.kafka.bootstrap, ORDERS_TOPIC, DETAILS_TOPIC):
        if record.value is not None and record.key is not None and not record.key.startswith(b"bad-"):
            change = decode(record.value)
            source = change.source
            found.append((source.table, record.key, change.op, source.file, source.pos, source.row))
    return found


def _repeats_in(scenario: Scenario) -> int:
    return repeats(change for change in _changes(scenario) if change[2] != "r")


def _snapshot_rows(scenario: Scenario) -> int:
    return sum(change[2] == "r" for change in _changes(scenario))


# -- the database -----------------------------------------------------------------------------------------------------


def restart_database(scenario: Scenario) -> None:
    """SIGKILL the source database and start it again; then purge a part of its log that was not read yet.

    The purge has to stop the connector loudly. It goes on when a person allows it to read the tables again.
    """
    for _ in range(scenario.dose.times):
        with scenario.backlog(shares=2 * scenario.dose.times):
            scenario.testbed.kill("mariadb")
            scenario.struck("killed the database")
            scenario.pause(0.2, 2.0)
            scenario.testbed.stack.start("mariadb")
        scenario.shop.wait_captured()


def purge_log(scenario: Scenario) -> None:
    """While Connect is away: more orders, and the log that holds them is purged."""
    stack = scenario.testbed.stack
    stack.down(only=["connect"])
    scenario.shop.surge(scenario.dose.orders // 2)
    _purge(scenario)
    stack.start("connect")
    scenario.struck("purged the log that Connect has not read")
    trace = _failure(scenario)
    scenario.notes["purge"] = trace
    scenario.say(f"    the connector says: {trace[:150]}")
    # Not "when_needed": Debezium's check does not see this gap of a MariaDB's log.
    scenario.testbed.capture(**{"snapshot.mode": "always"})
    scenario.shop.wait_captured(streamed=True)
    scenario.testbed.capture()
    scenario.struck("the connector has read the tables again")


def _purge(scenario: Scenario) -> None:
    """Leave the newest log file only. The server keeps what a connection still reads, one that is gone included."""
    deadline = time.monotonic() + PURGE_LIMIT_S
    while True:
        as_root(scenario, "FLUSH BINARY LOGS")
        newest = as_root(scenario, "SHOW BINARY LOGS").split()[-2]
        as_root(scenario, f"PURGE BINARY LOGS TO '{newest}'")
        if len(as_root(scenario, "SHOW BINARY LOGS").splitlines()) == 1:
            return
        for line in as_root(scenario, "SHOW PROCESSLIST").splitlines():
            if "Binlog Dump" in line:
                as_root(scenario, f"KILL {line.split()[0]}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the database did not purge its log within {PURGE_LIMIT_S:.0f} s")
        time.sleep(0.5)


def _failure(scenario: Scenario) -> str:
    """What the connector says when it has failed; that it went on instead is a fault."""
    deadline = time.monotonic() + CONNECTOR_LIMIT_S
    url = f"{scenario.testbed.connect.url}/connectors/{connector_name(DATASET)}/status"
    while time.monotonic() < deadline:
        tasks = requests.get(url, timeout=10).json().get("tasks", [])
        for task in tasks:
            if task["state"] == "FAILED":
                causes = [line for line in str(task["trace"]).splitlines() if line.startswith("Caused by:")]
                return causes[-1] if causes else str(task["trace"]).partition("\n")[0]
        time.sleep(0.5)
    scenario.broken.append("the connector did not stop although its log was purged")
    return "nothing"


def as_root(scenario: Scenario, statements: str) -> str:
    """Run statements as the database's root, which the machine's user is over the socket."""
    socket = socket_path(scenario.testbed.stack.site)
    command = ["mariadb", "--no-defaults", f"--socket={socket}", "--batch", "--skip-column-names", "-e", statements]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
