"""Measure the time from the database commit of an order until it is visible in `order_final`, in total and by stage."""

from __future__ import annotations

import bisect
import math
import os
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from bench import inputs
from bench.kafka import create_topics
from bench.machine import Spent, foreign_share, tree_usage
from bench.percentiles import commit_markers, summary
from bench.systems import Running, System, Task, output_topic, prepared
from bench.testbed import DATASET, Say, StackTestbed, generator
from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.settings import ConnectSettings
from ops.connector.apply import apply_connector, wait_snapshot
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name, connector_settings
from ops.database import connected
from ops.dataset.bulk import OnDuplicate
from ops.dataset.generator.files import write_files
from ops.dataset.generator.load import load_files
from ops.dataset.generator.plan import make_plan
from ops.dataset.schema import create_schema
from ops.dataset.shop import NewOrder, place_order
from stack.errors import StackError
from streams.adapters.committed_reader import committed_consumer
from streams.topics import ORDER_FINAL, change_topic

SERVERS: Final = ("kafka", "connect", "mariadb", "redis")
APP_ID: Final = "bench-latency"
CUSTOMERS: Final = 1_000
RATE_PER_WRITER: Final = 100.0
WARM_UP_S: Final = 3.0
CONNECT_S: Final = 1.0
"""Time that the writers get to connect, so that no writer starts late and then has to catch up."""
VISIBLE_LIMIT_S: Final = 60.0
POLL_S: Final = 0.05

Place = tuple[str, int, int, int]
"""The topic, partition and offset of a record, and the record's timestamp in ms since 1970."""


def measured(
    partitions: int, rates: Sequence[float], systems: Sequence[System], *, seconds: float, say: Say
) -> list[dict[str, Any]]:
    """Measure the latency of each system at each rate, with this number of partitions; return a row for each.

    The systems run one after the other on the same servers, and read the same topics.
    """
    with StackTestbed.opened(SERVERS, partitions=partitions) as testbed:
        _capture(testbed)
        return [row for system in systems for row in _of_system(testbed, system, rates, seconds=seconds, say=say)]


def _of_system(
    testbed: StackTestbed, system: System, rates: Sequence[float], *, seconds: float, say: Say
) -> Iterator[dict[str, Any]]:
    task = _task(testbed, system)
    running = prepared(system, task, testbed.environment)
    running.start()
    try:
        _at_rate(testbed, running, task.output, rates[0], WARM_UP_S)
        for rate in rates:
            found = _at_rate(testbed, running, task.output, rate, seconds)
            row = {"system": system.label, "partitions": testbed.partitions, "rate": rate, **found}
            say(_line(row))
            yield row
    finally:
        running.stop()


def _task(testbed: StackTestbed, system: System) -> Task:
    """Create the output topic of a system and its folder."""
    task = Task(
        group=APP_ID if system.is_millrace else f"{APP_ID}-{system.label}",
        orders=change_topic(DATASET, inputs.ORDERS),
        details=change_topic(DATASET, inputs.DETAILS),
        output=output_topic(system, "latency"),
        folder=testbed.folder / system.label,
    )
    if task.output != ORDER_FINAL:
        create_topics(testbed.kafka.bootstrap, task.output, partitions=testbed.partitions)
    task.folder.mkdir()
    return task


def _line(row: Mapping[str, Any]) -> str:
    stations = ", ".join(f"{name} {found['share']:.0%}" for name, found in row["stations"].items())
    return (
        f"{row['system']}, {row['partitions']} partitions, {row['placed_per_s']:.0f} orders/s: p50 {row['p50_ms']} ms, "
        f"p99 {row['p99_ms']} ms, p99.9 {row['p999_ms']} ms ({stations}); other programs used {row['foreign_cpu']:.0%}"
    )


def _capture(testbed: StackTestbed) -> None:
    """Create a shop database with lookup tables and a single order, and let the connector capture its snapshot."""
    definition, parameters = load_definition(DATASET), generator()
    database = DatabaseSettings.read(testbed.environment)
    with connected(database) as connection:
        create_schema(connection, definition)
    paths = write_files(parameters, make_plan(parameters, orders=1, customers=CUSTOMERS), testbed.folder / "csv")
    load_files(database, definition, paths, OnDuplicate.FAIL, lambda line: None)
    testbed.apply_topics(APP_ID)
    settings = ConnectSettings.read(testbed.environment)
    with ConnectClient(settings.url) as connect:
        apply_connector(connect, connector_name(DATASET), connector_settings(definition, settings))
        wait_snapshot(connect, connector_name(DATASET))


def _at_rate(testbed: StackTestbed, running: Running, output: str, rate: float, seconds: float) -> dict[str, Any]:
    count = math.ceil(rate * seconds)
    before, began = Spent.now(tree_usage(*running.pids), testbed.pids), time.monotonic()
    with Arrivals(testbed.kafka.bootstrap, output) as arrivals:
        committed_ms = _placed(testbed, rate, count)
        took_s = (max(committed_ms.values()) - min(committed_ms.values())) / 1000
        arrivals.wait_for(committed_ms.keys())
        spent = Spent.now(tree_usage(*running.pids), testbed.pids).since(before)
        share = foreign_share(spent, wall_s=time.monotonic() - began, cores=os.cpu_count() or 1)
        waits = _waits(testbed, committed_ms, arrivals)
    return {"placed_per_s": round((count - 1) / max(took_s, 1e-3), 1), "foreign_cpu": round(share, 3), **summary(waits)}


# -- the shop ---------------------------------------------------------------------------------------------------------


def _placed(testbed: StackTestbed, rate: float, count: int) -> dict[str, float]:
    """Place orders at a steady rate over several connections; return their commit times in ms, keyed by order id."""
    writers = max(1, math.ceil(rate / RATE_PER_WRITER))
    begins = time.monotonic() + CONNECT_S

    def write(writer: int) -> list[tuple[str, float]]:
        placed = []
        with connected(DatabaseSettings.read(testbed.environment), load_definition(DATASET).database) as connection:
            for number in range(writer, count, writers):
                time.sleep(max(0.0, begins + number / rate - time.monotonic()))
                order = place_order(connection, _new_order(number))
                placed.append((order.order_id, order.committed_at_ns / 1e6))
        return placed

    with ThreadPoolExecutor(writers) as pool:
        return dict(pair for placed in pool.map(write, range(writers)) for pair in placed)


def _new_order(number: int) -> NewOrder:
    return NewOrder(
        order_id=str(uuid.uuid4()),
        customer_id=1 + number % CUSTOMERS,
        store_id=1,
        payment_method_id=1 + number % 12,
        lines=[(product, 1) for product in range(1, 2 + number % 4)],
        ordered_at=datetime.now(UTC),
    )


# -- the stages -------------------------------------------------------------------------------------------------------


def _waits(testbed: StackTestbed, committed_ms: Mapping[str, float], arrivals: Arrivals) -> list[list[float]]:
    """Return five times per order, in ms: committed, captured, connector committed, worker committed, visible."""
    sources = [change_topic(DATASET, table) for table in (inputs.ORDERS, inputs.DETAILS)]
    markers = Markers(testbed.stack.site.data("kafka"))
    captured: dict[str, float] = defaultdict(float)
    source_committed: dict[str, float] = defaultdict(float)
    for order_id, (topic, partition, offset, record_ms) in _records(testbed.kafka.bootstrap, sources):
        captured[order_id] = max(captured[order_id], record_ms)
        marked_ms = markers.after(topic, partition, offset)
        source_committed[order_id] = max(source_committed[order_id], marked_ms)
    waits = []
    for order_id, at_ms in committed_ms.items():
        visible_ms, (topic, partition, offset, _) = arrivals.seen[order_id]
        marked_ms = markers.after(topic, partition, offset)
        waits.append([at_ms, captured[order_id], source_committed[order_id], marked_ms, visible_ms])
    return waits


class Markers:
    """Reads commit times of Kafka transactions from the broker's log files, because consumers do not return them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, int], tuple[list[int], list[int]]] = {}

    def after(self, topic: str, partition: int, offset: int) -> float:
        """Return the time in ms of the marker that ended the transaction of the record at `offset`."""
        offsets, moments_ms = self._known.get((topic, partition)) or self._read(topic, partition)
        at = bisect.bisect_left(offsets, offset)
        assert at < len(offsets), f"{topic}/{partition}: no transaction marker at or after offset {offset}"
        return float(moments_ms[at])

    def _read(self, topic: str, partition: int) -> tuple[list[int], list[int]]:
        segments = sorted((self._folder / f"{topic}-{partition}").glob("*.log"))
        markers = [marker for segment in segments for marker in commit_markers(segment.read_bytes())]
        self._known[topic, partition] = [offset for offset, _ in markers], [at_ms for _, at_ms in markers]
        return self._known[topic, partition]


class Arrivals:
    """A thread that reads the committed records of a topic, one at a time, and notes when each order appears.

    Attributes:
        seen: time when an order first appeared, in ms since 1970, and the `Place` of its record, keyed by order id.
    """

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.seen: dict[str, tuple[float, Place]] = {}
        self._topic = topic
        self._consumer = committed_consumer(bootstrap, "bench-latency-watch", {"enable.partition.eof": True})
        self._unread = _assign(self._consumer, [topic])
        self._caught_up = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="arrivals", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._caught_up.wait(VISIBLE_LIMIT_S):
            raise StackError(f"could not read {self._topic} to its end within {VISIBLE_LIMIT_S:.0f} s")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def wait_for(self, order_ids: Set[str]) -> None:
        """Wait until all of these orders are visible.

        Raises:
            StackError: some orders are not visible within the time limit.
        """
        deadline = time.monotonic() + VISIBLE_LIMIT_S
        while not order_ids <= self.seen.keys():
            if time.monotonic() > deadline:
                missing = len(order_ids - self.seen.keys())
                raise StackError(f"{missing} orders are still not visible in Kafka after {VISIBLE_LIMIT_S:.0f} s")
            time.sleep(POLL_S)

    def _watch(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(POLL_S)
            now_ms = time.time_ns() / 1e6
            if message is None:
                continue
            if message.error() is not None:
                self._unread -= 1
                if not self._unread:
                    self._caught_up.set()
            else:
                self.seen.setdefault(_order_id(message), (now_ms, _place(message)))


def _records(bootstrap: str, topics: Sequence[str]) -> Iterator[tuple[str, Place]]:
    """Yield the order id and `Place` of every committed record in the topics, up to the topics' current ends."""
    consumer = committed_consumer(bootstrap, "bench-latency-watch", {"enable.partition.eof": True})
    unread = _assign(consumer, topics)
    while unread:
        for message in consumer.consume(5_000, 0.2):
            if message.error() is None:
                yield _order_id(message), _place(message)
            else:
                unread -= 1
    consumer.close()


def _assign(consumer: Consumer, topics: Sequence[str]) -> int:
    """Assign all partitions of the topics to the consumer, from the beginning; return the number of partitions."""
    found = [
        (topic, number) for topic in topics for number in consumer.list_topics(topic, 30.0).topics[topic].partitions
    ]
    consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in found])
    return len(found)


def _order_id(message: Any) -> str:
    return str(message.key().decode())


def _place(message: Any) -> Place:
    return message.topic(), message.partition(), message.offset(), message.timestamp()[1]
