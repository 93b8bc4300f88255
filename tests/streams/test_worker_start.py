"""Goal: a worker starts only on topics and state that it can rely on, and says what is wrong otherwise.

Method: topics of the test on the shared Kafka, records written past any connector, real workers; their exit and last
log lines are read.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from confluent_kafka import OFFSET_END, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from config.settings import KafkaSettings
from demo.workers import Worker
from ops.topics import apply_topics
from stack.local import Stack
from stack.ports import free_ports
from streams.runtime.faust.broker_limits import BeyondLimitsError, Wanted, check_limits
from streams.topics import DEAD_LETTERS, ORDER_FINAL, catalogue, change_topic, order_state_changelog
from tests.streams.orders.live_shop import TopicTail
from tests.support.builders import created, detail_row, order_row, position
from tests.support.kafka import read_topics
from tests.support.server_waiting import until

ORDERS, DETAILS = change_topic("project_db", "orders"), change_topic("project_db", "order_details")


class Site:
    """One application on a Kafka that it shares with others of its kind; each test creates its topics again."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.app_id = f"start-{uuid.uuid4().hex[:8]}"
        # Without the guard: it would keep an order from going out again, with or without a state that remembers it.
        self.environment = {**environment, "ORDERS_APP_ID": self.app_id, "GUARD": "off"}
        self.changelog = order_state_changelog(self.app_id)
        self.admin = AdminClient({"bootstrap.servers": environment["KAFKA_BOOTSTRAP"]})
        self._folder = folder
        self._producer = Producer({"bootstrap.servers": environment["KAFKA_BOOTSTRAP"], "partitioner": "murmur2"})
        self.make_topics()

    def make_topics(self) -> None:
        """Create what is missing of the catalogue."""
        specs = catalogue(dataset="project_db", app_id=self.app_id, order_partitions=4)
        apply_topics(KafkaSettings.read(self.environment), specs)

    def delete_topics(self, *topics: str) -> None:
        """Delete topics and wait until they are gone."""
        for future in self.admin.delete_topics(list(topics)).values():
            future.result()
        until(lambda: not set(topics) & set(self.admin.list_topics(timeout=10).topics), "the topics are gone")

    def forget_group(self) -> None:
        """Delete the consumer group with its offsets."""
        for future in self.admin.delete_consumer_groups([self.app_id]).values():
            future.result()

    def committed(self) -> int:
        """The sum of the group's committed offsets."""
        request = ConsumerGroupTopicPartitions(self.app_id)
        [future] = self.admin.list_consumer_group_offsets([request]).values()
        return sum(max(0, tp.offset) for tp in future.result().topic_partitions)

    def produce(self, topic: str, key: bytes, value: bytes, *, partition: int = -1) -> None:
        """Write a record as a connector would, or to a partition of one's choice."""
        self._producer.produce(topic, key=key, value=value, partition=partition)
        assert self._producer.flush(30) == 0

    def complete_order(self, order_id: str) -> None:
        """Write the changes of an order with one product."""
        row, line = order_row(order_id, num_products=1), detail_row(order_id)
        self.produce(ORDERS, order_id.encode(), created(row, at=position(10)))
        self.produce(DETAILS, order_id.encode(), created(line, at=position(11)))

    def worker(self, **settings: str) -> Worker:
        """A started worker."""
        [port] = free_ports(["worker"]).values()
        worker = Worker(web_port=port, environment={**self.environment, **settings}, folder=self._folder)
        worker.start()
        return worker

    def refusal(self, **settings: str) -> str:
        """The last words of a worker that does not start."""
        worker = self.worker(**settings)
        until(lambda: not worker.is_running(), "the worker gives up")
        return worker.log.read_text()

    def skip(self, topic: str, partition: int, *options: str) -> str:
        """What `millrace topics skip` says."""
        place = ["--topic", topic, "--partition", str(partition), *options]
        command = [sys.executable, "-m", "ops.cli", "topics", "skip", "--app", self.app_id, *place, "--reason", "test"]
        done = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    def letters(self) -> list[str]:
        """The reasons of this application's dead letters of partition 2, oldest first."""
        records = read_topics(self.environment["KAFKA_BOOTSTRAP"], DEAD_LETTERS)
        found = [record for record in records if record.headers.get("app") == self.app_id]
        return [record.headers["reason"] for record in sorted(found, key=lambda record: record.offset)]

    def state(self, worker: Worker, partition: int) -> str:
        """The state of one of the worker's partitions."""
        found = ((worker.stats() or {}).get("partitions") or {}).get(str(partition)) or {}
        return str(found.get("state", ""))

    def fault(self, worker: Worker, partition: int) -> str:
        """Why one of the worker's partitions is stopped; empty if it is not."""
        if self.state(worker, partition) != "stopped":
            return ""
        return str((worker.stats() or {})["partitions"][str(partition)]["error"])


@pytest.fixture
def site(stack: Stack, tmp_path: Path) -> Iterator[Site]:
    site = Site(stack.environment(), tmp_path)
    yield site
    site.delete_topics(ORDERS, DETAILS, ORDER_FINAL)


def test_missing_topics_are_named(site: Site) -> None:
    words = site.refusal(ORDERS_APP_ID="an-app-without-topics")
    assert "topic an-app-without-topics-order_state-changelog does not exist" in words
    assert "Traceback" not in words


def test_another_number_of_partitions_is_named(site: Site) -> None:
    words = site.refusal(ORDER_PARTITIONS="3")
    assert f"topic {ORDERS} has 4 partitions, expected 3" in words


def test_quoted_keys_are_recognised_as_the_connectors_mistake(site: Site) -> None:
    for number in range(8):
        order_id = f"order-{number}"
        site.produce(ORDERS, f'"{order_id}"'.encode(), created(order_row(order_id)))
    assert f"topic {ORDERS}: key: differs from the row's key column" in site.refusal()


def test_a_wrong_setting_is_named(site: Site) -> None:
    words = site.refusal(SESSION_TIMEOUT_S="soon", WEB_TABLES="perhaps")
    assert "SESSION_TIMEOUT_S: must be a number" in words
    assert "WEB_TABLES: must be true or false" in words
    assert "Traceback" not in words


def test_a_kafka_that_is_away_is_named(site: Site) -> None:
    [port] = free_ports(["nobody"]).values()
    assert f"Kafka at 127.0.0.1:{port} does not answer" in site.refusal(KAFKA_BOOTSTRAP=f"127.0.0.1:{port}")


def test_a_changelog_that_was_emptied_behind_the_group_stops_the_worker(site: Site) -> None:
    worker = site.worker()
    worker.wait_ready()
    site.complete_order("order-1")
    until(lambda: site.committed() == 2, "both changes are committed")
    assert worker.stop()
    site.delete_topics(site.changelog)
    site.make_topics()
    for _ in range(2):  # a restarter would start it again
        assert "is empty, but the consumer group has committed" in site.refusal()


def test_local_state_of_a_former_changelog_is_not_trusted(site: Site) -> None:
    tail = TopicTail(site.environment["KAFKA_BOOTSTRAP"], [ORDER_FINAL])
    worker = site.worker()
    worker.wait_ready()
    site.complete_order("order-1")
    tail.wait(ORDER_FINAL, "order-1")
    assert worker.stop()
    site.delete_topics(site.changelog)
    site.forget_group()
    site.make_topics()
    # With the former state on its disk the worker would take the order for emitted and stay silent for ever.
    worker.start()
    tail.wait(ORDER_FINAL, "order-1", count=2)
    assert worker.stop()
    assert "the topic was recreated after the local state was written" in worker.log.read_text()
    tail.close()


def test_a_changelog_that_lost_its_head_is_damaged(site: Site) -> None:
    for number in range(8):
        site.produce(site.changelog, f"order-{number}".encode(), b"a state, but not the first record of this topic")
    assert "without its incarnation" in site.refusal()


def test_the_order_view_says_when_nothing_is_known(site: Site) -> None:
    worker = site.worker()
    worker.wait_ready()
    answer = requests.get(f"{worker.url}/orders/nobody/", timeout=10)
    assert answer.status_code == 404
    assert "order nobody is unknown" in answer.json()["error"]
    assert worker.stop()


def test_a_burst_of_bad_keys_does_not_keep_a_worker_from_starting(site: Site) -> None:
    for number in range(100):
        site.produce(ORDERS, f"{number}".encode(), created(order_row(f"{number}")))
    for partition in range(4):
        for _ in range(20):
            site.produce(ORDERS, b"bad", created(order_row("another")), partition=partition)
    worker = site.worker()
    worker.wait_ready()
    assert worker.stop()


def test_a_record_whose_dead_letter_would_be_too_large_costs_only_itself(site: Site) -> None:
    """18 MB that zstd makes 500 KB of, so that the source topic takes it, and lz4 nothing."""
    bootstrap = site.environment["KAFKA_BOOTSTRAP"]
    limits: dict[str, Any] = {"message.max.bytes": 100_000_000, "compression.type": "zstd"}
    producer = Producer({"bootstrap.servers": bootstrap, **limits})
    producer.produce(ORDERS, key=b"large", value=os.urandom(500_000) * 36)
    assert producer.flush(60) == 0
    tail = TopicTail(bootstrap, [DEAD_LETTERS])
    worker = site.worker()
    try:
        [record] = tail.wait(DEAD_LETTERS, "large")
    finally:
        tail.close()
        assert worker.stop()
    assert record.raw is None
    assert (record.headers["left_out"], record.headers["topic"]) == ("18000000", ORDERS)


async def test_settings_that_the_broker_would_refuse_are_named(stack: Stack) -> None:
    client = {"bootstrap_servers": stack.environment()["KAFKA_BOOTSTRAP"]}
    await check_limits(client, Wanted(session_timeout_ms=6_000, transaction_timeout_ms=60_000))
    beyond = Wanted(session_timeout_ms=5_000, transaction_timeout_ms=100_000)
    with pytest.raises(BeyondLimitsError, match=r"SESSION_TIMEOUT_S: 5 s .*\nTRANSACTION_TIMEOUT_MS: 100000 ms"):
        await check_limits(client, beyond)


def test_a_source_topic_that_was_created_again_stops_its_partitions_with_its_name(site: Site) -> None:
    tail = TopicTail(site.environment["KAFKA_BOOTSTRAP"], [ORDER_FINAL])
    worker = site.worker()
    worker.wait_ready()
    site.complete_order("order-1")
    tail.wait(ORDER_FINAL, "order-1")
    assert worker.stop()  # a rebalance while the topic is missing would end it, and a restarter start it again
    site.delete_topics(DETAILS)  # Kafka also deletes the offsets that the group has committed for this topic
    site.make_topics()
    worker.start()
    for number in range(4):
        until(lambda number=number: site.fault(worker, number), f"partition {number} is stopped")  # type: ignore[misc]
        assert f"partition {number} of topic {DETAILS} was deleted and created again" in site.fault(worker, number)
    assert "has 1 workers" in site.skip(DETAILS, 0, "--to-beginning"), "not while a worker has the partition"
    assert worker.stop()
    for number in range(4):
        assert f"goes on at offset 0 of {DETAILS}/{number}" in site.skip(DETAILS, number, "--to-beginning")
    worker.start()
    worker.wait_ready()
    site.complete_order("order-2")
    tail.wait(ORDER_FINAL, "order-2")
    tail.close()
    assert worker.stop()


def test_a_truncated_source_topic_stops_the_partition_that_lost_records_and_no_other(site: Site) -> None:
    worker = site.worker()
    worker.wait_ready()
    site.produce(ORDERS, b"bad", b"{}", partition=2)
    until(lambda: site.committed() == 1, "its dead letter is committed")
    assert worker.stop()
    for _ in range(2):
        site.produce(ORDERS, b"bad", b"{}", partition=2)
    [deletion] = site.admin.delete_records([TopicPartition(ORDERS, 2, OFFSET_END)]).values()
    deletion.result()
    worker.start()
    until(lambda: site.fault(worker, 2), "partition 2 is stopped")
    assert f"partition 2 of topic {ORDERS} begins at offset" in site.fault(worker, 2)
    until(lambda: [site.state(worker, number) for number in (0, 1, 3)] == ["running"] * 3, "the others are running")
    assert worker.stop()
    assert f"goes on at offset 3 of {ORDERS}/2" in site.skip(ORDERS, 2, "--to-beginning")
    site.produce(ORDERS, b"poison", b"{", partition=2)
    site.produce(ORDERS, b"bad", b"{}", partition=2)
    assert "is not the next one" in site.skip(ORDERS, 2, "--offset", "4")
    assert f"goes on at offset 4 of {ORDERS}/2" in site.skip(ORDERS, 2, "--offset", "3")
    worker.start()
    worker.wait_ready()
    until(lambda: len(site.letters()) == 4, "the record after the skipped one is processed")
    assert worker.stop()
    _, lost, skipped, _ = site.letters()
    assert "records from offset 1 on are lost" in lost
    assert skipped == "skipped by an operator: test"
