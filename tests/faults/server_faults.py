"""What happens to the servers: rows 6, 8, 10 and 11, and row R, a topic that refuses what is written to it."""

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
from tests.faults.invariants import repeats
from tests.faults.scene import Scene
from tests.faults.shop import DATASET, DETAILS_TOPIC, ORDERS_TOPIC
from tests.support.kafka import ANSWER_S, admin, read_topics

CONNECTOR_LIMIT_S: Final = 90.0
PURGE_LIMIT_S: Final = 20.0
REFUSED_BYTES: Final = 100
LARGE_BYTES: Final = 16 * 1024 * 1024


def restart_broker(scene: Scene) -> None:
    """SIGKILL the only broker under load and start it again; nobody else is touched."""
    for _ in range(scene.dose.times):
        with scene.backlog():
            scene.ground.kill("kafka")
            scene.struck("killed the broker")
            scene.pause(0.5, 3.0)
            scene.ground.stack.start("kafka")
        scene.ground.wait_connector()
        scene.crew.settle()


def lose_redis(scene: Scene) -> None:
    """Redis killed and its data deleted, then away for a while, with locks that last a second only."""
    stack = scene.ground.stack
    for _ in range(scene.dose.times):
        with scene.backlog(shares=2 * scene.dose.times):
            scene.ground.kill("redis")
            shutil.rmtree(stack.site.data("redis"))
            stack.start("redis")
            scene.struck("killed Redis and deleted its data")
        with scene.backlog(shares=2 * scene.dose.times):
            scene.ground.kill("redis")
            scene.say(f"    killed Redis; it stays away for {scene.dose.outage_s:.0f} s")
            time.sleep(scene.dose.outage_s)
            stack.start("redis")
            scene.struck("Redis is back")
    scene.crew.settle()


def refuse_batches(scene: Scene) -> None:
    """`order_final` refuses every batch for a while, as a topic whose size limit was set too low does."""
    for _ in range(scene.dose.times):
        with scene.backlog(), _largest_message(scene, ORDER_FINAL, REFUSED_BYTES):
            scene.say(f"    {ORDER_FINAL} refuses what is larger than {REFUSED_BYTES} bytes")
            time.sleep(scene.dose.outage_s)
        scene.struck(f"{ORDER_FINAL} takes everything again")


@contextmanager
def _largest_message(scene: Scene, topic: str, size_bytes: int) -> Iterator[None]:
    _set_largest_message(scene, topic, size_bytes)
    try:
        yield
    finally:
        _set_largest_message(scene, topic, LARGE_BYTES)


def _set_largest_message(scene: Scene, topic: str, size_bytes: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin(scene.ground.kafka.bootstrap)
    for answer in client.incremental_alter_configs([resource]).values():
        answer.result(ANSWER_S)


# -- Connect ----------------------------------------------------------------------------------------------------------


def kill_connect(scene: Scene) -> None:
    """SIGKILL Connect while it follows the log and while it reads a snapshot; with exactly-once source, then without.

    The log may repeat changes only without; what is published repeats nothing either way. The quick dose leaves out
    the snapshot without exactly-once.
    """
    for exactly_once in (True, False):
        with _source_guarantee(scene, exactly_once=exactly_once):
            scene.shop.wait_captured(streamed=True)
            before = _repeats_in(scene)
            for _ in range(scene.dose.times):
                with scene.backlog(shares=4 * scene.dose.times):
                    _kill_connect(scene, "following the log")
            scene.shop.wait_captured()
            repeated = _repeats_in(scene) - before
            scene.notes["repeats_in_exactly_once" if exactly_once else "repeats_in_at_least_once"] = repeated
            if exactly_once and repeated:
                scene.broken.append(f"{repeated} changes came twice although the source is exactly-once")
            if not exactly_once and not repeated:
                scene.broken.append("no change came twice although the source is at-least-once: the kill hit nothing")
            if exactly_once or scene.dose.times > 1:
                _kill_in_snapshot(scene)
    scene.crew.settle()


def _kill_connect(scene: Scene, when: str) -> None:
    scene.ground.kill("connect")
    scene.struck(f"killed Connect, {when}")
    scene.pause(0.2, 1.0)
    scene.ground.stack.start("connect")
    scene.ground.wait_connector()


def _kill_in_snapshot(scene: Scene) -> None:
    """Have the connector read all tables again, kill Connect when rows begin to come; then back to the usual."""
    required = {"exactly.once.support": scene.notes["exactly_once_support"]}
    for _ in range(scene.dose.times):
        before = _snapshot_rows(scene)
        scene.ground.capture(**required, **{"snapshot.mode": "always"})
        scene.crew.until(lambda: _snapshot_rows(scene) > before, "a snapshot begins", CONNECTOR_LIMIT_S)  # noqa: B023
        _kill_connect(scene, "reading a snapshot")
        scene.ground.capture(**required)
        scene.shop.wait_captured(streamed=True)


@contextmanager
def _source_guarantee(scene: Scene, *, exactly_once: bool) -> Iterator[None]:
    """Connect with exactly-once source support, or restarted without it."""
    if exactly_once:
        scene.notes["exactly_once_support"] = "required"
        yield
        return
    usual = connect_server.worker_settings
    setting = {"exactly.once.source.support": "disabled"}
    connect_server.worker_settings = lambda site: usual(site) | setting
    try:
        _restart_connect(scene, "requested")
        yield
    finally:
        connect_server.worker_settings = usual
        _restart_connect(scene, "required")


def _restart_connect(scene: Scene, support: str) -> None:
    scene.notes["exactly_once_support"] = support
    if support == "requested":  # a worker without the guarantee refuses a connector that requires it
        scene.ground.capture(**{"exactly.once.support": support})
    scene.ground.stack.down(only=["connect"])
    scene.ground.stack.start("connect")
    scene.ground.wait_connector()
    if support == "required":
        scene.ground.capture()


class _Source(msgspec.Struct):
    file: str
    pos: int
    row: int
    table: str


class _Envelope(msgspec.Struct):
    op: str
    source: _Source


def _changes(scene: Scene) -> list[tuple[Any, ...]]:
    """Table, key, operation and position of every change in the source topics; the injected bad records are none."""
    decode, found = msgspec.json.Decoder(_Envelope).decode, []
    for record in read_topics(scene.ground.kafka.bootstrap, ORDERS_TOPIC, DETAILS_TOPIC):
        if record.value is not None and record.key is not None and not record.key.startswith(b"bad-"):
            change = decode(record.value)
            source = change.source
            found.append((source.table, record.key, change.op, source.file, source.pos, source.row))
    return found


def _repeats_in(scene: Scene) -> int:
    return repeats(change for change in _changes(scene) if change[2] != "r")


def _snapshot_rows(scene: Scene) -> int:
    return sum(change[2] == "r" for change in _changes(scene))


# -- the database -----------------------------------------------------------------------------------------------------


def restart_database(scene: Scene) -> None:
    """SIGKILL the source database and start it again; then purge a part of its log that was not read yet.

    The purge has to stop the connector loudly. It goes on when a person allows it to read the tables again.
    """
    for _ in range(scene.dose.times):
        with scene.backlog(shares=2 * scene.dose.times):
            scene.ground.kill("mariadb")
            scene.struck("killed the database")
            scene.pause(0.2, 2.0)
            scene.ground.stack.start("mariadb")
        scene.shop.wait_captured()


def purge_log(scene: Scene) -> None:
    """While Connect is away: more orders, and the log that holds them is purged."""
    stack = scene.ground.stack
    stack.down(only=["connect"])
    scene.shop.surge(scene.dose.orders // 2)
    _purge(scene)
    stack.start("connect")
    scene.struck("purged the log that Connect has not read")
    trace = _failure(scene)
    scene.notes["purge"] = trace
    scene.say(f"    the connector says: {trace[:150]}")
    # Not "when_needed": Debezium's check does not see this gap of a MariaDB's log.
    scene.ground.capture(**{"snapshot.mode": "always"})
    scene.shop.wait_captured(streamed=True)
    scene.ground.capture()
    scene.struck("the connector has read the tables again")


def _purge(scene: Scene) -> None:
    """Leave the newest log file only. The server keeps what a connection still reads, one that is gone included."""
    deadline = time.monotonic() + PURGE_LIMIT_S
    while True:
        _as_root(scene, "FLUSH BINARY LOGS")
        newest = _as_root(scene, "SHOW BINARY LOGS").split()[-2]
        _as_root(scene, f"PURGE BINARY LOGS TO '{newest}'")
        if len(_as_root(scene, "SHOW BINARY LOGS").splitlines()) == 1:
            return
        for line in _as_root(scene, "SHOW PROCESSLIST").splitlines():
            if "Binlog Dump" in line:
                _as_root(scene, f"KILL {line.split()[0]}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the database did not purge its log within {PURGE_LIMIT_S:.0f} s")
        time.sleep(0.5)


def _failure(scene: Scene) -> str:
    """What the connector says when it has failed; that it went on instead is a fault."""
    deadline = time.monotonic() + CONNECTOR_LIMIT_S
    url = f"{scene.ground.connect.url}/connectors/{connector_name(DATASET)}/status"
    while time.monotonic() < deadline:
        tasks = requests.get(url, timeout=10).json().get("tasks", [])
        for task in tasks:
            if task["state"] == "FAILED":
                causes = [line for line in str(task["trace"]).splitlines() if line.startswith("Caused by:")]
                return causes[-1] if causes else str(task["trace"]).partition("\n")[0]
        time.sleep(0.5)
    scene.broken.append("the connector did not stop although its log was purged")
    return "nothing"


def _as_root(scene: Scene, statements: str) -> str:
    """Run statements as the database's root, whom the machine's own user is through the socket."""
    socket = socket_path(scene.ground.stack.site)
    command = ["mariadb", "--no-defaults", f"--socket={socket}", "--batch", "--skip-column-names", "-e", statements]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
