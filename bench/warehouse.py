"""Measure the warehouse: changes per second into PostgreSQL, beside two usual ways, and the time from a commit to it.

The worker reads changes of customers from Kafka, where they wait when it starts: new rows, then updates in random
order, then updates among a million rows. The others write the same rows from memory, without Kafka: 500 rows by
`executemany`, and row by row with a commit each, both with the same condition by position. The time from a commit is
measured on the whole chain: rows inserted into the source, captured by Debezium, seen in the warehouse.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import Producer

from bench.testbed import Say, StackTestbed
from config.database_settings import PostgresSettings, WarehouseDatabaseSettings
from config.dataset import load_definition
from config.engines import ENGINES
from config.engines.base import Connection
from config.settings import use_environment
from demo.workers import Worker
from ops.cli import main as millrace
from stack.errors import StackError
from streams.topics import topic_under

DATASET: Final = "shop"
SERVERS: Final = ("kafka", "connect", "postgres")
PARTITIONS: Final = 4
MILLION: Final = 1_000_000
FIRST_LSN: Final = 10**15
"""Place in the log of the first change that is written here, after all of the database's own."""

GROUP: Final = 500
SEED: Final = 22
LIMIT_S: Final = 300.0
TIME: Final = "2026-01-02T03:04:05.000000Z"
_PEER: Final = """
    INSERT INTO peer (id, name, email, country, created_at, updated_at, source_position)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email, country = excluded.country,
        created_at = excluded.created_at, updated_at = excluded.updated_at, source_position = excluded.source_position
    WHERE excluded.source_position > peer.source_position
"""
_PEER_TABLE: Final = """
    DROP TABLE IF EXISTS peer;
    CREATE TABLE peer (id bigint PRIMARY KEY, name text, email text, country text, created_at timestamptz,
        updated_at timestamptz, source_position text COLLATE "C" NOT NULL) WITH (fillfactor = 80)
"""
_FILL: Final = """
    INSERT INTO dim_customers SELECT n, 'Name ' || n, n || '@example.org', 'DE', now(), now(), now(), now(), false, 0,
        repeat('0', 61) FROM generate_series(1, %s) AS n ON CONFLICT DO NOTHING
"""
_DELAYS: Final = """
    WITH delays AS (
        SELECT extract(epoch FROM written_at - created_at) * 1000 AS ms FROM dim_customers WHERE country = 'ZZ'
    )
    SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)
    FROM delays
"""


def measured(changes: int, *, seconds: int, say: Say) -> list[dict[str, Any]]:
    """Measure all ways with so many changes, and the delays for so many seconds; return one row per measurement."""
    with StackTestbed.opened(SERVERS, partitions=PARTITIONS) as testbed:
        use_environment({**testbed.environment, "DATASET": DATASET})
        for command in ("dataset init", "topics apply", "warehouse apply"):
            if millrace(command.split()) != 0:
                raise StackError(f"`millrace {command}` failed")
        delays = _latency(testbed, seconds, say)
        return [*_throughput(testbed, changes, say), delays]


def _throughput(testbed: StackTestbed, changes: int, say: Say) -> Iterator[dict[str, Any]]:
    draw = random.Random(SEED)  # noqa: S311 - no secret
    new = list(range(1, changes + 1))
    updates = [draw.randint(1, changes) for _ in new]
    wide = [draw.randint(1, MILLION) for _ in new]
    with _warehouse(testbed) as connection:
        writer = _Changes(testbed)
        for case, keys in (("new rows", new), ("updates", updates), (f"updates of {MILLION:,} rows", wide)):
            if keys is wide:
                connection.driver.execute(_FILL, (MILLION,))
                connection.commit()
            yield _row("millrace", case, _by_worker(testbed, writer, keys), say)
        for way, count in (("executemany, 500 rows", changes), ("row by row", min(changes, 5_000))):
            connection.engine.run_script(connection, _PEER_TABLE)
            group = 1 if way == "row by row" else GROUP
            some = [1 + key % count for key in updates[:count]]
            yield _row(way, "new rows", _by_statements(connection, new[:count], group, is_update=False), say)
            yield _row(way, "updates", _by_statements(connection, some, group, is_update=True), say)


def _row(way: str, case: str, speed: float, say: Say) -> dict[str, Any]:
    say(f"{way:<24}{case:<28}{speed:>10,.0f} changes/s")
    return {"way": way, "case": case, "changes_per_s": round(speed)}


class _Changes:
    """Writes changes of customers to their topic, each at a later position."""

    def __init__(self, testbed: StackTestbed) -> None:
        self._producer = Producer(
            {"bootstrap.servers": testbed.kafka.bootstrap, "partitioner": "murmur2", "linger.ms": 20, "log_level": 2}
        )
        self._topic = topic_under(load_definition(DATASET).topic_prefix, "customers")
        self._lsn = FIRST_LSN

    def write(self, keys: Sequence[int]) -> None:
        for key in keys:
            self._lsn += 8
            while True:
                try:
                    self._producer.produce(self._topic, _envelope(key, self._lsn), str(key))
                    break
                except BufferError:
                    self._producer.poll(0.1)
        self._producer.flush(LIMIT_S)


def _envelope(key: int, lsn: int) -> bytes:
    row = {"id": key, "name": f"Name {lsn}", "email": f"{key}@example.org", "country": "DE"}
    row |= {"created_at": TIME, "updated_at": TIME}
    source = {"version": "3.7.0.Final", "connector": "postgresql", "name": DATASET, "ts_ms": 1_767_323_045_000}
    source |= {"snapshot": "false", "db": DATASET, "sequence": f'["{lsn}","{lsn}"]', "schema": "public"}
    source |= {"table": "customers", "txId": 7, "lsn": lsn}
    envelope = {"before": row, "after": row, "source": source, "op": "u", "ts_ms": 1_767_323_045_000}
    return json.dumps(envelope, separators=(",", ":")).encode()


def _by_worker(testbed: StackTestbed, writer: _Changes, keys: Sequence[int]) -> float:
    """Let a new worker write changes that wait in Kafka; return its changes per second from the first one on."""
    writer.write(keys)
    with _worker(testbed) as worker:
        first, began = 0, 0.0
        deadline = time.monotonic() + LIMIT_S
        while (done := _processed(worker)) < len(keys):
            if done and not first:
                first, began = done, time.monotonic()
            if time.monotonic() > deadline:
                raise StackError(
                    f"the worker has written {done} of {len(keys)} changes in {LIMIT_S:.0f} s: {worker.log}"
                )
            time.sleep(0.02)
        if not first:
            raise StackError("the worker was done at the first look: measure more changes")
        return (len(keys) - first) / (time.monotonic() - began)


def _processed(worker: Worker) -> int:
    stats: Mapping[str, Any] = worker.stats() or {}
    return int(stats.get("folded", 0))


@contextmanager
def _worker(testbed: StackTestbed) -> Iterator[Worker]:
    worker = testbed.worker("warehouse", DATASET=DATASET, application="streams.warehouse")
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def _by_statements(connection: Connection, keys: Sequence[int], group: int, *, is_update: bool) -> float:
    """Write rows in groups of one statement's executions and a commit each; return the changes per second."""
    base = len(keys) if is_update else 0
    rows = [
        (key, f"Name {index}", f"{key}@example.org", "DE", TIME, TIME, f"{base + index:061d}")
        for index, key in enumerate(keys)
    ]
    began = time.monotonic()
    with connection.cursor() as cursor:
        for start in range(0, len(rows), group):
            cursor.executemany(_PEER, rows[start : start + group])
            connection.commit()
    return len(rows) / (time.monotonic() - began)


def _latency(testbed: StackTestbed, seconds: int, say: Say, *, rate: int = 200) -> dict[str, Any]:
    """Insert rows into the source at a rate; return the percentiles of the time until they are in the warehouse."""
    if millrace(["connector", "apply", "--wait-snapshot"]) != 0:
        raise StackError("`millrace connector apply` failed")
    count = rate * seconds
    with _warehouse(testbed) as connection, _worker(testbed) as worker:
        connection.engine.run_script(
            connection, "ALTER TABLE dim_customers ADD COLUMN written_at timestamptz DEFAULT clock_timestamp()"
        )
        worker.wait_ready()
        inserting = threading.Thread(target=_insert, args=(testbed, count, rate))
        inserting.start()
        inserting.join()
        deadline = time.monotonic() + LIMIT_S
        while True:
            [(found, median_ms, worst_ms)] = connection.rows(_DELAYS)
            connection.commit()
            if found == count:
                break
            if time.monotonic() > deadline:
                raise StackError(f"{found} of {count} rows are in the warehouse after {LIMIT_S:.0f} s")
            time.sleep(0.2)
        connection.engine.run_script(connection, "ALTER TABLE dim_customers DROP COLUMN written_at")
    if millrace(["connector", "delete"]) != 0:
        raise StackError("`millrace connector delete` failed")
    say(f"commit → warehouse at {rate}/s: p50 {median_ms:.0f} ms, p99 {worst_ms:.0f} ms")
    return {"way": "millrace", "case": f"commit → warehouse at {rate}/s", "p50_ms": median_ms, "p99_ms": worst_ms}


def _insert(testbed: StackTestbed, count: int, rate: int) -> None:
    engine, login = ENGINES["postgres"], PostgresSettings.read(testbed.environment)
    connection = engine.connect(login, DATASET, "public")
    began = time.monotonic()
    for index in range(count):
        time.sleep(max(0.0, began + index / rate - time.monotonic()))
        connection.driver.execute(
            "INSERT INTO customers (id, name, email, country) VALUES (%s, 'Ada', 'ada@example.org', 'ZZ')",
            (2 * MILLION + index,),
        )
        connection.commit()
    connection.close()


@contextmanager
def _warehouse(testbed: StackTestbed) -> Iterator[Connection]:
    login = WarehouseDatabaseSettings.read(testbed.environment)
    connection = ENGINES["postgres"].connect(login, login.database, DATASET)
    try:
        yield connection
    finally:
        connection.close()
