"""The shop that keeps running during every fault: a live simulation, surges of many orders, and bad records."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import mysql.connector
from confluent_kafka import Producer

from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.definition import OrdersGenerator
from config.engines.base import Connection
from ops.database import connected
from ops.dataset.shop import Details, ShopDatabase, Transaction
from ops.dataset.simulate import simulate
from ops.dataset.simulation import Simulation
from stack.errors import StackError
from streams.topics import change_topic
from tests.faults.invariants import ShopOrder, ShopRows
from tests.support.background import in_background
from tests.support.builders import created, order_row
from tests.support.kafka import Record, TopicReader, ends, places

DATASET: Final = "project_db"
ORDERS_TOPIC: Final = change_topic(DATASET, "orders")
DETAILS_TOPIC: Final = change_topic(DATASET, "order_details")
METHODS_TOPIC: Final = change_topic(DATASET, "payment_method")

LIVE_RATE_PER_S: Final = 80.0
ORDERS_PER_TRANSACTION: Final = 250
BAD_PER_SURGE: Final = 4
FIRST_MARK: Final = 1_000
MARK_LIMIT_S: Final = 120.0
FLUSH_LIMIT_S: Final = 150.0  # longer than the longest outage of a broker

BAD: Final = (
    b"{ not json",
    b"",
    b'{"op":"c","after":{"id":"\xff"}}',
    b'{"op":"x","source":{},"after":null}',
    created(order_row("bad", num_products="two")),
    created(order_row("bad", num_products=0)),
    created(order_row("another key")),
)


class FaultShop:
    """The shop's database and its source topics, with everything chosen by one seed.

    Args:
        environment: the settings that reach the servers.
        seed: of every choice; `salt` makes the ids of another scenario differ all the same.
        deletes: whether the live shop deletes orders and lines.

    Attributes:
        placed: orders that surges have placed.
        injected: bad records; one that is read by a replay again stands here once more.
    """

    def __init__(self, environment: Mapping[str, str], seed: int, *, salt: str, deletes: bool) -> None:
        self.placed = 0
        self.injected: list[Record] = []
        self._bootstrap = environment["KAFKA_BOOTSTRAP"]
        self._database = DatabaseSettings.read(environment)
        self._draw = random.Random(f"{seed}/{salt}")  # noqa: S311 - load, no secrets
        self._seed = seed
        self._shares = (0.7, 0.2, 0.1) if deletes else (0.75, 0.25, 0.0)
        self._producer = Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "partitioner": "murmur2",
                "enable.idempotence": True,
                "log_level": 2,
            }
        )

    # -- load ---------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Insert, change and delete orders during the block, also across restarts of the database."""
        with in_background(self._simulate, "live-shop"):
            yield

    def _simulate(self, stop: threading.Event) -> None:
        generator = load_definition(DATASET).generator
        assert isinstance(generator, OrdersGenerator)
        insert_p, update_p, delete_p = self._shares
        simulation = Simulation(
            insert_p=insert_p,
            update_p=update_p,
            delete_p=delete_p,
            rate_per_s=LIVE_RATE_PER_S,
            details=Details.MIXED,
            seed=self._seed,
        )
        while not stop.is_set():
            try:
                with self.connection() as connection:
                    simulate(connection, generator, simulation, stop=stop)
            except (mysql.connector.Error, StackError):
                stop.wait(0.5)  # the database is away

    def surge(self, orders: int) -> None:
        """Place many orders as fast as the database allows, then write a few bad records past the connector."""
        with self.connection() as connection:
            shop = ShopDatabase(connection)
            for first in range(0, orders, ORDERS_PER_TRANSACTION):
                for transaction in self._transactions(min(ORDERS_PER_TRANSACTION, orders - first)):
                    shop.commit(transaction)
        self.placed += orders
        self.inject(BAD_PER_SURGE)

    def _transactions(self, orders: int) -> list[Transaction]:
        """Build the transactions of orders and lines: both in one, or one kind before the other."""
        draw, heads, lines = self._draw, [], []
        moment = datetime.now(UTC).replace(tzinfo=None)
        for _ in range(orders):
            order_id = str(UUID(int=draw.getrandbits(128), version=4))
            products = draw.sample(range(1, 2_000), draw.choice((1, 1, 2, 2, 3, 4)))
            heads.append(
                (order_id, draw.randint(1, 1_000), draw.randint(1, 50), draw.randint(1, 12), len(products), moment)
            )
            lines += [(order_id, product, draw.randint(1, 9)) for product in products]
        columns = "id, customer_id, store_id, payment_method_id, num_products, `timestamp`"
        head, tail = (
            _insert("orders", columns, heads),
            _insert("order_details", "order_id, product_id, quantity", lines),
        )
        return draw.choice(([[*head, *tail]], [head, tail], [tail, head]))

    def inject(self, count: int) -> None:
        """Write bad records to the topic of orders."""
        wanted = len(self.injected) + count
        for _ in range(count):
            key = f"bad-{len(self.injected)}-{self._draw.randrange(10**6)}".encode()
            self._producer.produce(ORDERS_TOPIC, key=key, value=self._draw.choice(BAD), on_delivery=self._delivered)
        left = self._producer.flush(FLUSH_LIMIT_S)
        assert left == 0, "bad records could not be written"
        assert len(self.injected) == wanted

    def _delivered(self, error: Any, message: Any) -> None:
        assert error is None, error
        place = (message.topic(), message.partition(), message.offset())
        self.injected.append(Record(*place, message.key(), message.value(), {}))

    # -- what is known of it ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection to the shop's database."""
        with connected(self._database, DATASET) as connection:
            yield connection

    def wait_captured(self, *, streamed: bool = False) -> None:
        """Wait until every change committed so far is in Kafka: the connector reads in order, so a mark says it.

        With `streamed` until the connector follows the log, and is not in the middle of a snapshot.

        Raises:
            TimeoutError: the connector does not go on.
        """
        deadline = time.monotonic() + MARK_LIMIT_S
        while b'"op":"r"' in self._mark(deadline) and streamed:
            continue

    def _mark(self, deadline: float) -> bytes:
        """Insert a row, and return its change once it is in Kafka."""
        [place] = places(self._bootstrap, METHODS_TOPIC)
        start = ends(self._bootstrap, [place], committed_only=False)
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT GREATEST(MAX(id), %s) + 1 FROM payment_method", (FIRST_MARK,))
            mark: Any = cursor.fetchone()
            cursor.execute("INSERT INTO payment_method VALUES (%s, 'mark', 'none')", mark)
            connection.commit()
        wanted = str(mark[0]).encode()
        with TopicReader(self._bootstrap) as reader:
            while time.monotonic() < deadline:
                for record in reader.records(start):
                    if record.key == wanted:
                        return record.value or b""
                time.sleep(0.1)
        raise TimeoutError(f"the connector did not capture a change within {MARK_LIMIT_S:.0f} s")

    def rows(self) -> ShopRows:
        """Read every order and line of the database, from one snapshot."""
        lines: dict[str, dict[int, int]] = {}
        with self.connection() as connection, connection.cursor() as cursor:
            connection.driver.start_transaction(consistent_snapshot=True, isolation_level="REPEATABLE READ")
            cursor.execute("SELECT id, customer_id, store_id, payment_method_id, num_products, `timestamp` FROM orders")
            found: Any = cursor.fetchall()
            orders = {row[0]: ShopOrder(row[1], row[2], row[3], row[4], row[5].replace(tzinfo=UTC)) for row in found}
            cursor.execute("SELECT order_id, product_id, quantity FROM order_details")
            found = cursor.fetchall()
            for order_id, product_id, quantity in found:
                lines.setdefault(order_id, {})[product_id] = quantity
            connection.rollback()
        return ShopRows(orders, lines)

    def clear(self) -> None:
        """Empty the tables of orders; the connector passes over truncations."""
        with self.connection() as connection, connection.cursor() as cursor:
            for table in ("orders", "order_details"):
                cursor.execute(f"TRUNCATE TABLE {table}")


def _insert(table: str, columns: str, rows: list[tuple[Any, ...]]) -> Transaction:
    values = ", ".join([f"({', '.join(['%s'] * len(rows[0]))})"] * len(rows))
    return [(f"INSERT INTO {table} ({columns}) VALUES {values}", tuple(v for row in rows for v in row))]  # noqa: S608
