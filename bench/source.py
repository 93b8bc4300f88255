"""Measure the capture of changes from each kind of source database: its snapshot, and the time from commit to topic."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from bench.testbed import Say, StackTestbed
from config.dataset import load_definition
from config.definition import Definition
from config.engines import engine_of
from config.settings import environment_with
from demo.proof import percentile
from ops.database import connected
from stack.errors import StackError
from stack.site import REPOSITORY
from streams.adapters.committed_reader import committed_consumer
from streams.topics import topic_under

SERVERS: Final = ("kafka", "connect", "mariadb", "postgres", "redis")
DATASETS: Final = ("project_db", "shop")
TABLE: Final = "customers"
PARTITIONS: Final = 4
WRITERS: Final = 2
WARM_UP_S: Final = 3.0
ARRIVAL_S: Final = 60.0
SIZE: Final = "0.002"
"""Size of the other tables, which are read too."""


def measured(*, rate: int, seconds: int, customers: int, say: Say) -> list[dict[str, Any]]:
    """Measure each kind of database, one after the other on the same servers; return a row for each."""
    rows = []
    with StackTestbed.opened(SERVERS, partitions=PARTITIONS) as testbed:
        for dataset in DATASETS:
            rows.append(_measured(testbed, load_definition(dataset), rate, seconds, customers))
            say(_line(rows[-1]))
    return rows


def _line(row: Mapping[str, Any]) -> str:
    return (
        f"{row['engine']}: snapshot {row['snapshot_rows_per_s']:,} rows/s of {row['rows']:,} rows; at {row['rate']} "
        f"changes/s, commit to topic p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms of {row['changes']:,}"
    )


def _measured(testbed: StackTestbed, definition: Definition, rate: int, seconds: int, customers: int) -> dict[str, Any]:
    environment = environment_with({**testbed.environment, "DATASET": definition.name})
    for command in (
        ("dataset", "init", "--drop"),
        ("dataset", "generate", "--size", SIZE, "--customers", str(customers)),
        ("topics", "apply"),
        ("connector", "apply", "--wait-snapshot"),
    ):
        _run(command, environment)
    try:
        arrivals = _Arrivals(testbed.kafka.bootstrap, topic_under(definition.topic_prefix, TABLE))
        spent_s = arrivals.read_snapshot(customers)
        delays = _delays(definition, environment, arrivals, rate, seconds, customers)
    finally:
        _run(("connector", "delete"), environment)
    return {
        "engine": definition.engine,
        "rows": customers,
        "snapshot_rows_per_s": round(customers / spent_s),
        "rate": rate,
        "changes": len(delays),
        "p50_ms": round(percentile(delays, 0.5) * 1000, 1),
        "p99_ms": round(percentile(delays, 0.99) * 1000, 1),
    }


def _run(command: tuple[str, ...], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", *command],
        env=dict(environment),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise StackError(f"millrace {' '.join(command)}: {done.stderr.strip()}")


def _delays(
    definition: Definition, environment: Mapping[str, str], arrivals: _Arrivals, rate: int, seconds: int, customers: int
) -> list[float]:
    """Change rows at this rate; return the seconds from each commit until a reader has its record."""
    commits: dict[str, float] = {}
    began = time.monotonic()
    writers = [
        threading.Thread(target=_write, args=(definition, environment, commits, number, rate, seconds, customers))
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    expected = int(rate * (WARM_UP_S + seconds) / WRITERS) * WRITERS
    seen = arrivals.read_changes(expected)
    for writer in writers:
        writer.join()
    return [max(0.0, at - commits[name]) for name, at in seen.items() if commits[name] >= began + WARM_UP_S]


def _write(
    definition: Definition,
    environment: Mapping[str, str],
    commits: dict[str, float],
    writer: int,
    rate: int,
    seconds: int,
    customers: int,
) -> None:
    """Change a row and commit, at even intervals."""
    login = engine_of(definition).login(environment)
    with connected(login, definition.database, definition.schema) as connection, connection.cursor() as cursor:
        began, pause_s = time.monotonic(), WRITERS / rate
        for number in range(int(rate * (WARM_UP_S + seconds) / WRITERS)):
            time.sleep(max(0.0, began + number * pause_s - time.monotonic()))
            name = f"change {writer}.{number}"
            key = 1 + (writer + WRITERS * number) % customers
            cursor.execute(f"UPDATE {TABLE} SET name = %s WHERE id = %s", (name, key))  # noqa: S608 - a constant
            connection.commit()
            commits[name] = time.monotonic()


class _Arrivals:
    """Reads the records of a change topic as soon as they are committed."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer: Consumer = committed_consumer(bootstrap, "bench-source", {"fetch.wait.max.ms": 10})
        self._consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(PARTITIONS)])

    def read_snapshot(self, rows: int) -> float:
        """Read so many records; return the seconds between the times of the first and the last."""
        times: list[int] = []
        while len(times) < rows:
            times += [message.timestamp()[1] for message in self._polled()]
        return max(1, max(times) - min(times)) / 1000

    def read_changes(self, number: int) -> dict[str, float]:
        """Read so many records; return when each arrived, by the name in the changed row."""
        seen: dict[str, float] = {}
        while len(seen) < number:
            for message in self._polled():
                seen[msgspec.json.decode(message.value())["after"]["name"]] = time.monotonic()
        return seen

    def _polled(self) -> list[Any]:
        deadline = time.monotonic() + ARRIVAL_S
        while not (found := self._consumer.consume(1_000, 0.001)):
            if time.monotonic() > deadline:
                raise StackError(f"no record has arrived for {ARRIVAL_S:.0f} s")
        return [message for message in found if message.error() is None]
