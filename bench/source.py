"""Measure the capture of changes from each kind of source database: its snapshot, and the time from commit to topic.

PostgreSQL keeps the part of its log that the connector's slot may still need. How much that is while nothing changes in
the dataset is measured beside another database on the same server, which is written to all the time.
"""

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
from config.database_settings import PostgresSettings
from config.dataset import load_definition
from config.definition import Definition
from config.engines import engine_of
from config.engines.base import Connection
from config.settings import environment_with
from demo.proof import percentile
from ops.connector.settings import slot_name
from ops.connector.slots import read_slot
from ops.database import connected
from stack.errors import StackError
from stack.site import REPOSITORY
from streams.adapters.committed_reader import committed_consumer
from streams.topics import topic_under

SERVERS: Final = ("kafka", "connect", "mariadb", "postgres", "redis")
DATASETS: Final = ("project_db", "shop")
TABLE: Final = "customers"
NEIGHBOUR: Final = "neighbour"
PARTITIONS: Final = 4
WRITERS: Final = 2
WARM_UP_S: Final = 3.0
ARRIVAL_S: Final = 60.0
SIZE: Final = "0.002"
"""Size of the other tables, which are read too."""


QUIET_POLL_S: Final = 1.0
NEIGHBOUR_ROWS: Final = 200
"""Rows of 1 kB that the other database gets each second: the slot must move, or it pins 64 MB within minutes."""


def measured(*, rate: int, seconds: int, customers: int, quiet: int, say: Say) -> list[dict[str, Any]]:
    """Measure each kind of database, one after the other on the same servers; return a row for each.

    Args:
        quiet: seconds without a change of the dataset, in which PostgreSQL's slot is watched; 0: none.
    """
    rows = []
    with StackTestbed.opened(SERVERS, partitions=PARTITIONS) as testbed:
        for dataset in DATASETS:
            rows.append(_measured(testbed, load_definition(dataset), rate, seconds, customers, quiet))
            say(_line(rows[-1]))
            if "quiet" in rows[-1]:
                say(_quiet_line(rows[-1]["quiet"]))
    return rows


def _line(row: Mapping[str, Any]) -> str:
    return (
        f"{row['engine']}: snapshot {row['snapshot_rows_per_s']:,} rows/s of {row['rows']:,} rows; at {row['rate']} "
        f"changes/s, commit to topic p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms of {row['changes']:,}"
    )


def _quiet_line(row: Mapping[str, Any]) -> str:
    return (
        f"quiet for {row['seconds']} s beside {row['written_mb']} MB of log: the slot moved {row['slot_moved_mb']} MB "
        f"in {row['steps']} steps, and pinned {row['pinned_most_mb']} MB at most, {row['pinned_last_mb']} MB at the end"
    )


def _measured(
    testbed: StackTestbed, definition: Definition, rate: int, seconds: int, customers: int, quiet: int
) -> dict[str, Any]:
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
        is_watched = quiet and definition.engine == "postgres"
        watched = {"quiet": _watch_slot(definition, environment, quiet)} if is_watched else {}
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
        **watched,
    }


def _watch_slot(definition: Definition, environment: Mapping[str, str], seconds: int) -> dict[str, Any]:
    """Write to another database for so long, and note where the connector's slot stands."""
    login = PostgresSettings.read(environment)
    with connected(login, definition.database, definition.schema) as connection:
        connection.rollback()
        connection.driver.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {NEIGHBOUR}")
        connection.driver.autocommit = False
        with connected(login, NEIGHBOUR) as neighbour, neighbour.cursor() as cursor:
            cursor.execute("CREATE TABLE rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text)")
            slots, deadline = [_slot(connection, definition)], time.monotonic() + seconds
            while time.monotonic() < deadline:
                cursor.execute(
                    "INSERT INTO rows (body) SELECT repeat('x', 1000) FROM generate_series(1, %s)", (NEIGHBOUR_ROWS,)
                )
                neighbour.commit()
                time.sleep(QUIET_POLL_S)
                slots.append(_slot(connection, definition))
    return _quiet_row(slots, seconds)


def _slot(connection: Connection, definition: Definition) -> tuple[int, int]:
    """Return the place from which on the server keeps the log for the slot, and how many bytes that are."""
    slot = read_slot(connection, slot_name(definition.name, 0))
    assert slot is not None
    assert slot.kept_from is not None
    assert slot.kept_bytes is not None
    return slot.kept_from, slot.kept_bytes


def _quiet_row(slots: list[tuple[int, int]], seconds: int) -> dict[str, Any]:
    """Summarise where a slot kept the log from, and how much, at one time after the other."""
    (first, first_kept), (last, last_kept) = slots[0], slots[-1]
    return {
        "seconds": seconds,
        "written_mb": round((last + last_kept - first - first_kept) / 1e6, 1),
        "slot_moved_mb": round((last - first) / 1e6, 1),
        "steps": len({place for place, _ in slots}) - 1,
        "pinned_most_mb": round(max(kept for _, kept in slots) / 1e6, 1),
        "pinned_last_mb": round(last_kept / 1e6, 1),
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
