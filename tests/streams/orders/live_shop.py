"""The shop under test: what a test changes in the database, and what it then finds in the topics."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import OFFSET_BEGINNING, Producer, TopicPartition

from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.engines.base import Connection
from config.settings import KafkaSettings
from ops.database import connected
from ops.dataset.check import check
from ops.dataset.oracle import Verdict
from streams.adapters.committed_reader import committed_consumer
from tests.support.server_waiting import LIVENESS_S, until


@dataclass(frozen=True)
class TopicRecord:
    """A record as a read-committed consumer sees it."""

    topic: str
    partition: int
    key: str | None
    raw: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def value(self) -> dict[str, Any]:
        """The JSON value."""
        decoded: dict[str, Any] = msgspec.json.decode(self.raw or b"null")
        return decoded


class TopicTail:
    """Everything that is in some topics, read on as it grows."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        self.records: list[TopicRecord] = []
        self._consumer = committed_consumer(bootstrap, "test-tail", {"fetch.wait.max.ms": 50})
        partitions = {t: self._consumer.list_topics(t, 10.0).topics[t].partitions for t in topics}
        self._consumer.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t, ps in partitions.items() for p in ps])

    def poll(self, seconds: float = 0.2) -> None:
        """Read what has come."""
        for message in self._consumer.consume(5_000, seconds):
            assert message.error() is None, message.error()
            topic, partition, key = message.topic(), message.partition(), message.key()
            assert topic is not None
            assert partition is not None
            headers: Any = message.headers() or []
            self.records.append(
                TopicRecord(
                    topic,
                    partition,
                    key.decode(errors="backslashreplace") if isinstance(key, bytes) else key,
                    message.value(),
                    {name: value.decode() for name, value in headers},
                )
            )

    def of(self, topic: str, key: str | None = None) -> list[TopicRecord]:
        """The records of a topic so far, of one key if given."""
        return [r for r in self.records if r.topic == topic and (key is None or r.key == key)]

    def wait(self, topic: str, key: str | None, *, count: int = 1) -> list[TopicRecord]:
        """Wait until there are `count` records, then a moment longer: one too many shall be seen as well."""

        def enough() -> bool:
            self.poll(0.05)
            return len(self.of(topic, key)) >= count

        until(enough, f"{count} records of {key} in {topic}")
        self.poll(0.5)
        return self.of(topic, key)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()


class Shop:
    """The database and the topics of one pipeline."""

    def __init__(self, environment: Mapping[str, str], tail: TopicTail) -> None:
        self.environment = dict(environment)
        self.tail = tail
        self._producer = Producer({"bootstrap.servers": environment["KAFKA_BOOTSTRAP"], "partitioner": "murmur2"})

    def transaction(self, *statements: tuple[str, Sequence[Any]]) -> None:
        """Run statements in one transaction of the shop's database."""
        with connected(DatabaseSettings.read(self.environment), "project_db") as connection:
            self._run(connection, statements)

    @staticmethod
    def _run(connection: Connection, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        with connection.cursor() as cursor:
            for text, values in statements:
                cursor.execute(text, tuple(values))
        connection.commit()

    def verdict(self) -> Verdict:
        """Ask the oracle, giving missing orders time to appear."""
        return check(
            DatabaseSettings.read(self.environment),
            KafkaSettings.read(self.environment),
            load_definition("project_db"),
            timeout_s=LIVENESS_S,
        )

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Write a record past the connector, as a broken one might."""
        self._producer.produce(topic, key=key, value=value)
        assert self._producer.flush(30) == 0


def new_id() -> str:
    """An order id that no other test has."""
    return str(uuid.uuid4())


def new_id_in(partition: int) -> str:
    """One of a given partition, of four."""
    while True:
        id_ = new_id()
        if DefaultPartitioner()(id_.encode(), list(range(4)), list(range(4))) == partition:
            return id_


def order(order_id: str, num_products: int, payment_method_id: int = 1) -> tuple[str, Sequence[Any]]:
    """Insert an order row."""
    text = (
        "INSERT INTO orders (id, customer_id, store_id, payment_method_id, num_products, `timestamp`) "
        "VALUES (%s, 7, 8, %s, %s, '2025-05-06 07:08:09.123456')"
    )
    return text, (order_id, payment_method_id, num_products)


def line(order_id: str, product_id: int, quantity: int = 2) -> tuple[str, Sequence[Any]]:
    """Insert a product line."""
    return "INSERT INTO order_details VALUES (%s, %s, %s)", (order_id, product_id, quantity)
