"""Consume orders and keep the current state of each in a SQLite file; needs only the package `confluent-kafka`.

    python examples/consume_orders.py localhost:9092 orders.db           # runs until Ctrl-C
    python examples/consume_orders.py localhost:9092 orders.db --once    # stops at the current end of the topics
    sqlite3 orders.db "select value from orders where status = 'complete'"

Input topics: `order_final` (each order once, when it is complete for the first time) and `order_amended` (the whole
order after each later change).

Rules for your own consumer:

1. Read committed records only. Uncommitted records may be duplicates or belong to aborted transactions.
2. Records of the two topics may arrive in any relative order. An amendment always replaces the first version; of two
   amendments, the later one in the topic wins. It has the higher revision, unless the workers' state was rebuilt (then
   revisions start at 1 again). In each topic, all records of an order are in one partition.
3. Store orders and offsets in one transaction. Then nothing is lost or counted twice, whenever the consumer stops, and
   reading a record a second time changes nothing.
4. Keep deleted orders with their status; otherwise reading an old record again would bring a deleted order back.
5. Ignore unknown fields, because new ones may be added.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

FINAL, AMENDED = "order_final", "order_amended"
BATCH, WAIT_S, METADATA_S = 1_000, 0.5, 10.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY, status TEXT NOT NULL, revision INTEGER NOT NULL, rank INTEGER NOT NULL,
    value TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS offsets (
    topic TEXT, partition INTEGER, next INTEGER NOT NULL, PRIMARY KEY (topic, partition)
);
"""
PUT_ORDER = """
INSERT INTO orders VALUES (?, ?, ?, ?, ?) ON CONFLICT (order_id) DO UPDATE
SET status = excluded.status, revision = excluded.revision, rank = excluded.rank, value = excluded.value
WHERE excluded.rank > orders.rank
"""
PUT_OFFSET = "INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)"


def consume(bootstrap: str, file: str, *, once: bool) -> None:
    """Keep the orders in the SQLite file up to date, continuing from the offsets stored in it."""
    with closing(sqlite3.connect(file)) as database, closing(new_consumer(bootstrap)) as consumer:
        database.executescript(SCHEMA)
        begin = starts(consumer, database)
        consumer.assign(begin)
        unread = {(place.topic, place.partition) for place in begin}
        while unread or not once:
            messages = consumer.consume(BATCH, WAIT_S)
            with database:  # one transaction
                for message in good(messages, unread):
                    keep(database, message)


def new_consumer(bootstrap: str) -> Consumer:
    """Create a read-committed consumer that commits no offsets, because they are stored with the orders."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "consume-orders",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "log_level": 2,  # `main` reports errors once
        }
    )


def starts(consumer: Consumer, database: sqlite3.Connection) -> list[TopicPartition]:
    """List every partition of both topics with the offset to continue from: the stored one, or the beginning."""
    known = {(topic, partition): next_ for topic, partition, next_ in database.execute("SELECT * FROM offsets")}
    found = []
    for topic in (FINAL, AMENDED):
        metadata = consumer.list_topics(topic, METADATA_S).topics[topic]
        if metadata.error is not None:
            raise KafkaException(metadata.error)
        places = [(topic, partition) for partition in metadata.partitions]
        found += [TopicPartition(*place, known.get(place, OFFSET_BEGINNING)) for place in places]
    return found


def good(messages: list[Message], unread: set[tuple[str, int]]) -> Iterator[Message]:
    """Yield the messages that are records; remove partitions that were read to their end from `unread`."""
    for message in messages:
        error = message.error()
        if error is None:
            yield message
        elif error.code() == KafkaError._PARTITION_EOF:
            unread.discard((message.topic(), message.partition()))
        elif error.fatal() or not error.retriable():
            raise KafkaException(error)


def keep(database: sqlite3.Connection, message: Message) -> None:
    """Store a record's order if it is newer than the stored one, and store the offset of the next record."""
    value, offset = message.value(), message.offset()
    assert value is not None
    assert offset is not None
    order, is_amended = json.loads(value), message.topic() == AMENDED
    status, revision = (order["status"], order["revision"]) if is_amended else ("complete", 0)
    rank = offset + 1 if is_amended else 0
    put = database.execute(PUT_ORDER, (order["order_id"], status, revision, rank, value.decode()))
    database.execute(PUT_OFFSET, (message.topic(), message.partition(), offset + 1))
    if put.rowcount:
        print(order["order_id"], status, f"revision {revision}", sep="\t")


def main() -> int:
    """Parse the arguments and run the consumer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bootstrap", help="Kafka, as host:port")
    parser.add_argument("file", help="SQLite file, created if missing")
    parser.add_argument("--once", action="store_true", help="stop at the current end of the topics")
    arguments = parser.parse_args()
    try:
        consume(arguments.bootstrap, arguments.file, once=arguments.once)
    except KafkaException as error:
        print(f"{arguments.bootstrap}: {error.args[0].str()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass  # the file is consistent: orders and offsets are stored together
    return 0


if __name__ == "__main__":
    sys.exit(main())
