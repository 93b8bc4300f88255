"""Goal: a record that breaks the format or the bounds of Kafka's clients costs only itself, and the workers serve.

Method: real Kafka and a worker. Batches that no client library writes go into the change topics as they are, and good
orders around them have to come out. Then a worker with an empty disk reads all of it again.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from config.settings import KafkaSettings
from demo.workers import Worker
from ops.topics import apply_topics
from stack.local import Stack
from stack.ports import free_ports
from streams.model.change import LATEST_MS
from streams.runtime.partition.hashing import partition_of
from streams.topics import ORDER_FINAL, catalogue, change_topic
from tests.streams.orders.deployments import incomplete_of
from tests.streams.orders.live_shop import new_id
from tests.streams.orders.test_bad_input import Feed
from tests.support.builders import created, payment_method_row
from tests.support.input_classes import METHOD, good, sourced
from tests.support.server_waiting import until
from tests.support.wire import patched, record_batch, send

PARTITIONS: Final = 4
MIB: Final = 1024 * 1024
ZSTD: Final = 4
MOST_GROWTH_KIB: Final = 200 * 1024
"""What a worker may grow by while it steps over 300 MiB; the limit of a batch is 64 MiB."""


class HostileShop:
    """A dataset that anybody writes to, and its worker."""

    def __init__(self, servers: Stack, folder: Path) -> None:
        dataset = f"hostile-{uuid.uuid4().hex[:8]}"
        self.environment = servers.environment() | {"DATASET": dataset, "ORDERS_APP_ID": f"{dataset}-orders"}
        self.methods = change_topic(dataset, "payment_method")
        specs = catalogue(dataset=dataset, app_id=self.environment["ORDERS_APP_ID"], order_partitions=PARTITIONS)
        apply_topics(KafkaSettings.read(self.environment), specs)
        self.bootstrap = self.environment["KAFKA_BOOTSTRAP"]
        self.feed = Feed(self.bootstrap, dataset)
        self.feed.write(self.methods, b"1", created(payment_method_row(METHOD)))
        self.folder = folder
        self.worker = self.new_worker()

    def new_worker(self) -> Worker:
        [port] = free_ports(["worker"]).values()
        worker = Worker(web_port=port, environment=self.environment, folder=self.folder)
        worker.start()
        worker.wait_ready()
        return worker

    def send(self, topic: str, key: bytes | None, value: bytes | None, *, at: int | None = None, **batch: Any) -> None:
        """Write one record as it is to the partition of its key, or to partition `at`."""
        wire = record_batch([(key, value, batch.pop("headers", ()))], timestamp_ms=int(time.time() * 1000), **batch)
        send(self.bootstrap, topic, partition_of(key or b"", PARTITIONS) if at is None else at, wire)

    def send_ill_named(self, topic: str, key: bytes, value: bytes, partition: int) -> None:
        """Write a record whose header name is not UTF-8."""
        wire = record_batch([(key, value, [("ZZZZ", b"1")])], timestamp_ms=int(time.time() * 1000))
        send(self.bootstrap, topic, partition, patched(wire, b"ZZZZ", b"\xff\xfe\xff\xfe"))

    def reasons(self) -> list[str]:
        """The reasons of all dead letters, and that of a value that was left out with its size."""
        return [letter.reason for letter in self.feed.letters()]

    def most_memory_kib(self) -> int:
        """The most memory that the worker's process has used."""
        status = Path(f"/proc/{self.worker.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


@pytest.fixture
def shop(servers_for_bad_records: Stack, tmp_path: Path) -> Iterator[HostileShop]:
    shop = HostileShop(servers_for_bad_records, tmp_path)
    yield shop
    assert shop.worker.stop(), "a worker ends gracefully"
    shop.feed.tail.close()


def test_hostile_records_on_the_wire_cost_only_themselves(shop: HostileShop) -> None:
    feed = shop.feed
    before_kib = shop.most_memory_kib()
    ill_named, waiting, poisoned, misplaced = new_id(), new_id(), new_id(), new_id()
    feed.row(waiting, created(good(waiting)))
    shop.send_ill_named(feed.orders, ill_named.encode(), created(good(ill_named)), partition_of(ill_named.encode(), 4))
    shop.send_ill_named(shop.methods, b"2", created(payment_method_row(2, "Cash", None)), 0)
    for partition in range(PARTITIONS):
        shop.send_ill_named(feed.details, b"x", b"{", partition)
        shop.send(feed.orders, poisoned.encode(), sourced(poisoned, ts_ms=LATEST_MS), at=partition)
    shop.send(feed.orders, b"bomb", b" " * (300 * MIB), codec=ZSTD)
    shop.send(feed.details, None, b" " * (15 * MIB), at=1, codec=ZSTD)
    shop.send(feed.orders, misplaced.encode(), created(good(misplaced)), at=_another(misplaced))
    shop.send(feed.orders, b"k" * 300, created(good("k" * 300)))
    shop.send(feed.orders, b"", created(good("")), at=0)

    feed.line(ill_named)
    feed.final(ill_named)
    feed.goes_on()
    until(lambda: len(shop.reasons()) == 12, "a dead letter for each bad record and no other")
    found = "\n".join(shop.reasons())
    for word, count in (("decompressed", 1), ("left out", 2), ("belongs to partition", 4), ("length", 2)):
        assert found.count(word) == count, (word, found)
    assert shop.most_memory_kib() - before_kib < MOST_GROWTH_KIB
    stats = shop.worker.stats()
    assert stats is not None
    assert (stats["headers_repaired"], stats["batches_left_out"], stats["times_corrected"]) == (6, 1, 4)

    assert shop.worker.stop(), "a worker ends gracefully"
    shutil.rmtree(shop.folder)
    shop.folder.mkdir()
    shop.worker = shop.new_worker()
    feed.goes_on()
    feed.line(waiting)
    feed.final(waiting)
    assert shop.feed.tail.of(ORDER_FINAL, misplaced) == []
    incomplete = incomplete_of(shop.worker)
    assert [(order["order_id"], order["reported"]) for order in incomplete["orders"]] == [(poisoned, False)]


def _another(order_id: str) -> int:
    """A partition that the order does not belong to."""
    return (partition_of(order_id.encode(), PARTITIONS) + 1) % PARTITIONS
