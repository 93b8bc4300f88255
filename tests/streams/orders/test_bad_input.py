"""Goal: an unreadable record in a source topic becomes a dead letter and affects no other record.

Method: real Kafka and one worker. `input_classes.py` has one representative of each class of input. Each is written to
its topic with a good record right behind it in the same partition, which has to be processed. In the end the dead
letters are the bad records, one for one, byte for byte, with their origins, and the worker never stumbled. What only a
database and its connector can produce is made by them.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import KafkaError, Producer

from config.settings import KafkaSettings
from demo.workers import Worker
from ops.dead_letters.letter import DeadLetter
from ops.dead_letters.reading import DeadLetterReader
from ops.topics import apply_topics
from stack.local import Stack
from stack.ports import free_ports
from streams.topics import DEAD_LETTERS, ORDER_AMENDED, ORDER_FINAL, catalogue, change_topic
from tests.streams.orders.live_shop import Shop, TopicTail, line, new_id, order
from tests.support.builders import as_json, created, deleted, detail_row, payment_method_row, position, updated, wrap
from tests.support.input_classes import DEAD, DEAD_LINES, HOSTILE, METHOD, PLACEHOLDER, READ, good
from tests.support.server_waiting import until

ON_EVERY_RUN: Final = {
    "no JSON",
    "no UTF-8",
    "empty",
    "10 MB of rubbish",
    "nested 100,000 deep",
    "missing op",
    "wrong type",
    "huge amount",
    "key of another row",
    "quoted hostile text",
    "zero quantity",
    "with its schema",
    "time in a zone",
    "10 MB in a column that nobody reads",
}
"""The classes that differ in what Kafka, the worker or the log do with them. The decoder alone is given all of them on
every run, by `tests/unit/model/test_input_classes.py`; a worker on real servers only at night."""


def classes(names: Iterable[str]) -> list[Any]:
    """Parameters of a test: each class of input, most of them for the night."""
    return [pytest.param(name, marks=() if name in ON_EVERY_RUN else pytest.mark.nightly) for name in names]


# -- the servers ------------------------------------------------------------------------------------------------------


class Feed:
    """Writes records to the source topics, as no connector would, and looks at what becomes of them.

    Attributes:
        injected: keys and values of all records that have to become dead letters, with their topics.
    """

    def __init__(self, bootstrap: str, dataset: str) -> None:
        self.orders, self.details = change_topic(dataset, "orders"), change_topic(dataset, "order_details")
        self.injected: Counter[tuple[str, bytes | None, bytes | None]] = Counter()
        self.tail = TopicTail(bootstrap, [ORDER_FINAL, ORDER_AMENDED])
        self._bootstrap = bootstrap
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2",
                "message.max.bytes": 20_000_000,
                "compression.type": "lz4",  # a topic's limit is of what is sent
                "log_level": 2,
            }
        )

    def write(self, topic: str, key: bytes | None, value: bytes | None) -> KafkaError | None:
        """Write one record; answers why the topic did not take it."""
        faults: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Any) -> None:
            if error is not None:
                faults.append(error)

        self._producer.produce(topic, key=key, value=value, on_delivery=delivered)
        assert self._producer.flush(60) == 0
        return faults[0] if faults else None

    def row(self, id_: str, value: bytes | None) -> None:
        """Write a record to the topic of order rows."""
        assert self.write(self.orders, id_.encode(), value) is None

    def line(self, id_: str, value: bytes | None = None) -> None:
        """Write a record to the topic of product lines, by default the one that an order lacks."""
        assert self.write(self.details, id_.encode(), value or created(detail_row(id_))) is None

    def bad(self, topic: str, key: bytes | None, value: bytes) -> None:
        """Write a record that has to become a dead letter."""
        assert self.write(topic, key, value) is None
        self.injected[topic, key, value] += 1

    def final(self, id_: str) -> dict[str, Any]:
        """The order's record, the one and only."""
        [record] = self.tail.wait(ORDER_FINAL, id_)
        return record.value

    def letters(self) -> list[DeadLetter]:
        """All dead letters of these topics."""
        with DeadLetterReader(self._bootstrap) as reader:
            letters = [record for record in reader.records() if isinstance(record, DeadLetter)]
        return [each for each in letters if each.origin and each.origin.topic in (self.orders, self.details)]

    def letter(self, key: bytes | None) -> DeadLetter:
        """The dead letter of a key, the one and only."""
        found: list[DeadLetter] = []

        def is_there() -> bool:
            found[:] = [each for each in self.letters() if each.key == key]
            return found != []

        until(is_there, f"a dead letter of {key!r}")
        [letter] = found
        return letter

    def goes_on(self) -> None:
        """Orders of all partitions still come out."""
        ids = [new_id() for _ in range(12)]
        for id_ in ids:
            self.row(id_, created(good(id_)))
            self.line(id_)

        def all_came_out() -> bool:
            self.tail.poll()
            return all(self.tail.of(ORDER_FINAL, id_) for id_ in ids)

        until(all_came_out, "good orders come out")


@pytest.fixture(scope="module")
def feed(servers_for_bad_records: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Feed]:
    """A dataset with one worker that has to live through everything; at the end all is accounted for."""
    dataset = f"bad-{uuid.uuid4().hex[:8]}"
    servers = servers_for_bad_records
    environment = servers.environment() | {"DATASET": dataset, "ORDERS_APP_ID": f"{dataset}-orders"}
    specs = catalogue(dataset=dataset, app_id=environment["ORDERS_APP_ID"], order_partitions=4)
    apply_topics(KafkaSettings.read(environment), specs)
    feed = Feed(environment["KAFKA_BOOTSTRAP"], dataset)
    assert feed.write(change_topic(dataset, "payment_method"), b"1", created(payment_method_row(METHOD))) is None
    [port] = free_ports(["worker"]).values()
    worker = Worker(web_port=port, environment=environment, folder=tmp_path_factory.mktemp("bad"))
    worker.start()
    worker.wait_ready()
    yield feed
    account_for_all(feed, worker)
    feed.tail.close()


def account_for_all(feed: Feed, worker: Worker) -> None:
    """The dead letters are what was injected, one for one; the worker never failed, and its log has no forged line."""
    letters = feed.letters()
    assert Counter((each.origin.topic, each.key, each.value) for each in letters if each.origin) == feed.injected
    stats = worker.stats()
    assert stats is not None
    assert stats["refused"] == len(letters)
    assert {name: stats.get(name, 0) for name in ("failed", "fenced", "reopened_after_error")} == {
        "failed": 0,
        "fenced": 0,
        "reopened_after_error": 0,
    }
    assert worker.stop(), "a worker ends gracefully"
    log = Path(worker.log).read_text()
    assert "Traceback" not in log
    assert "\x1b[2J" not in log
    assert not [text for text in log.splitlines() if text.startswith("[forged]")]


# -- dead letters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", classes(DEAD))
def test_a_bad_order_row_is_a_dead_letter_and_the_record_behind_it_is_processed(feed: Feed, name: str) -> None:
    id_ = new_id()
    value, word = DEAD[name][0](id_), DEAD[name][1]
    feed.bad(feed.orders, id_.encode(), value)
    feed.row(id_, created(good(id_), position(2_000)))
    feed.line(id_)
    feed.final(id_)
    letter = feed.letter(id_.encode())
    assert letter.value == value
    assert word in letter.reason
    assert letter.reason.isprintable()
    assert letter.origin is not None
    assert (letter.origin.topic, letter.origin.partition) == (feed.orders, letter.place.partition)


@pytest.mark.parametrize("name", classes(DEAD_LINES))
def test_a_bad_product_line_is_a_dead_letter_and_the_record_behind_it_is_processed(feed: Feed, name: str) -> None:
    id_ = new_id()
    value, word = DEAD_LINES[name][0](id_), DEAD_LINES[name][1]
    feed.row(id_, created(good(id_)))
    feed.bad(feed.details, id_.encode(), value)
    feed.line(id_)
    feed.final(id_)
    assert word in feed.letter(id_.encode()).reason


def test_a_record_without_a_key_is_a_dead_letter_without_a_key(feed: Feed) -> None:
    id_ = new_id()
    feed.bad(feed.orders, None, created(good(id_)))
    feed.goes_on()
    assert "key" in feed.letter(None).reason


def test_a_key_that_is_no_text_is_a_dead_letter(feed: Feed) -> None:
    key = b"\xff\xfe" + os.urandom(8)
    feed.bad(feed.orders, key, created(good("x")))
    feed.goes_on()
    assert "key" in feed.letter(key).reason


def test_the_placeholder_of_a_value_that_is_not_available_is_no_order(feed: Feed) -> None:
    feed.bad(feed.orders, PLACEHOLDER.encode(), created(good(PLACEHOLDER)))
    feed.bad(feed.details, PLACEHOLDER.encode(), created(detail_row(PLACEHOLDER)))
    feed.goes_on()
    assert feed.tail.of(ORDER_FINAL, PLACEHOLDER) == []


def test_ten_megabytes_that_do_not_shrink_are_refused_by_the_source_topic_itself(feed: Feed) -> None:
    fault = feed.write(feed.orders, b"x", os.urandom(10_000_000))
    assert fault is not None
    assert fault.code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_a_hundred_bad_records_in_a_row_hold_up_nobody(feed: Feed) -> None:
    id_ = new_id()
    for number in range(100):
        feed.bad(feed.orders, id_.encode(), b"{%d" % number)
    feed.row(id_, created(good(id_)))
    feed.line(id_)
    feed.final(id_)
    assert [each.value for each in feed.letters() if each.key == id_.encode()] == [b"{%d" % n for n in range(100)]


# -- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", classes(READ))
def test_a_row_in_another_form_is_read_like_any_other(feed: Feed, name: str) -> None:
    id_ = new_id()
    feed.row(id_, READ[name](id_))
    feed.line(id_)
    value = feed.final(id_)
    assert value["ordered_at"] == "2026-01-02T03:04:05.000006Z"
    assert value["payment_method"]["name"] == "Visa"


def test_a_tombstone_changes_nothing(feed: Feed) -> None:
    id_ = new_id()
    feed.row(id_, created(good(id_)))
    feed.row(id_, None)
    feed.row(id_, as_json(wrap(None)))
    feed.line(id_)
    feed.final(id_)


@pytest.mark.parametrize("id_", [HOSTILE, "k" * 200], ids=["hostile text", "200 characters"])
def test_an_order_id_is_data_whatever_it_looks_like(feed: Feed, id_: str) -> None:
    id_ += new_id()
    feed.row(id_, created(good(id_)))
    feed.line(id_)
    assert feed.final(id_)["order_id"] == id_


def test_order_ids_that_look_alike_are_different_orders(feed: Feed) -> None:
    ending = new_id()
    ids = [text + ending for text in ("order", "Order", "ORDER", "\u00f3rder", "o\u0301rder", "order\x00", " order")]
    for number, id_ in enumerate(ids):
        feed.row(id_, created(good(id_, customer_id=number)))
    for id_ in ids:
        feed.line(id_)
    assert [feed.final(id_)["customer_id"] for id_ in ids] == list(range(len(ids)))


# -- what comes twice, late or in another order -----------------------------------------------------------------------


def test_duplicates_and_older_changes_change_nothing(feed: Feed) -> None:
    id_ = new_id()
    rows = [created(good(id_), position(10)), updated(good(id_), good(id_, store_id=2), position(20))]
    feed.row(id_, rows[0])
    feed.line(id_)
    feed.final(id_)
    for value in [rows[1], *rows, *rows, rows[0]]:
        feed.row(id_, value)
    feed.row(id_, deleted(good(id_), position(30)))
    amendments = feed.tail.wait(ORDER_AMENDED, id_, count=2)
    assert [(each.value["revision"], each.value["store_id"]) for each in amendments] == [(1, 2), (2, 22)]
    assert len(feed.tail.of(ORDER_FINAL, id_)) == 1


def test_a_deleted_order_is_not_brought_back_by_an_older_update(feed: Feed) -> None:
    id_ = new_id()
    feed.row(id_, created(good(id_), position(10)))
    feed.row(id_, deleted(good(id_), position(30)))
    feed.row(id_, None)
    feed.row(id_, updated(good(id_), good(id_, store_id=2), position(20)))
    feed.bad(feed.orders, id_.encode(), b"{")
    feed.letter(id_.encode())  # which is written when what stands before it has been processed
    feed.line(id_)
    feed.tail.poll(1.0)
    assert feed.tail.of(ORDER_FINAL, id_) == []
    feed.row(id_, created(good(id_, store_id=3), position(40)))
    assert feed.final(id_)["store_id"] == 3


def test_a_product_line_waits_for_its_order(feed: Feed) -> None:
    id_ = new_id()
    feed.line(id_)
    feed.tail.poll(1.0)
    assert feed.tail.of(ORDER_FINAL, id_) == []
    feed.row(id_, created(good(id_)))
    feed.final(id_)


# -- what the database and its connector make of it -------------------------------------------------------------------


@pytest.mark.usefixtures("worker")
def test_an_order_whose_id_changes_ends_and_begins_anew(shop: Shop) -> None:
    old, new = new_id(), new_id()
    shop.transaction(order(old, 1, payment_method_id=METHOD), line(old, 1))
    shop.tail.wait(ORDER_FINAL, old)
    shop.transaction(
        ("UPDATE orders SET id = %s WHERE id = %s", (new, old)),
        ("UPDATE order_details SET order_id = %s WHERE order_id = %s", (new, old)),
    )
    [moved] = shop.tail.wait(ORDER_FINAL, new)
    assert moved.value["order_id"] == new
    amendments = shop.tail.wait(ORDER_AMENDED, old)
    assert amendments[-1].value["status"] == "deleted"
    assert shop.tail.of(DEAD_LETTERS, old) + shop.tail.of(DEAD_LETTERS, new) == []


@pytest.mark.usefixtures("worker")
def test_a_zero_date_becomes_the_connectors_epoch(shop: Shop) -> None:
    """The connector has no way to say it in a column that may not be null, and writes 1970 instead."""
    id_ = new_id()
    text, values = order(id_, 1, payment_method_id=METHOD)
    zero = text.replace("'2025-05-06 07:08:09.123456'", "'0000-00-00 00:00:00'")
    shop.transaction(("SET SESSION sql_mode = ''", ()), (zero, values), line(id_, 1))
    [record] = shop.tail.wait(ORDER_FINAL, id_)
    assert record.value["ordered_at"] == "1970-01-01T00:00:00Z"
