"""Goal: the example consumer ends up with the present state of every order, through changes, kills and restarts.

Method: a real worker on real topics that the test writes; the example runs as its first lines say. Every record that it
reads is held against the schema file of its topic.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from stack.site import REPOSITORY
from streams.topics import ORDER_AMENDED, ORDER_FINAL, ORDER_INCOMPLETE
from tests.streams.orders.deployments import FedShop
from tests.streams.orders.live_shop import new_id
from tests.support.builders import deleted, detail_row, order_row
from tests.support.server_waiting import until
from tests.unit.schemas.valid import record_faults


class Example:
    """The example and its file."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.file = folder / "orders.db"
        self._command = [sys.executable, "examples/consume_orders.py", bootstrap, str(self.file)]

    def once(self) -> list[list[str]]:
        """Run it to the present end of the topics; what it printed."""
        run = subprocess.run([*self._command, "--once"], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr
        return [line.split("\t") for line in run.stdout.splitlines()]

    def start(self) -> subprocess.Popen[bytes]:
        """Run it without an end."""
        return subprocess.Popen(self._command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)

    def orders(self) -> dict[str, tuple[str, int, dict[str, Any]]]:
        """Status, revision and value of each order in the file."""
        database = sqlite3.connect(self.file)
        rows = database.execute("SELECT order_id, status, revision, value FROM orders").fetchall()
        database.close()
        return {order_id: (status, revision, json.loads(value)) for order_id, status, revision, value in rows}


@pytest.fixture
def example(fed: FedShop, tmp_path: Path) -> Example:
    return Example(fed.bootstrap, tmp_path)


def test_the_example_keeps_every_order_as_it_is(fed: FedShop, example: Example) -> None:
    fed.deployment().worker()
    kept, changed, gone, lacking = fed.orders(4)
    waiting = fed.order(num_products=2)
    fed.wait_emitted()
    before = example.once()
    fed.write("order_details", changed, detail_row(changed, 101, 7))
    fed.write("orders", gone, order_row(gone, num_products=1), op=deleted)
    fed.write("orders", lacking, order_row(lacking, num_products=5))
    for id_ in (changed, gone, lacking):
        fed.tail.wait(ORDER_AMENDED, id_)
    printed = example.once()
    found = example.orders()
    assert {row[0] for row in before} >= {kept, changed, gone, lacking}
    own = {row[0]: row[1:] for row in printed if row[0] in fed.complete}
    assert own == {
        changed: ["complete", "revision 1"],
        gone: ["deleted", "revision 1"],
        lacking: ["incomplete", "revision 1"],
    }
    assert found[kept][:2] == ("complete", 0)
    assert found[changed][2]["products"] == [{"product_id": 101, "quantity": 7}]
    assert waiting not in found
    assert example.once() == []


def test_records_of_an_aborted_transaction_are_not_orders(fed: FedShop, example: Example) -> None:
    producer = Producer({"bootstrap.servers": fed.bootstrap, "transactional.id": new_id(), "log_level": 2})
    producer.init_transactions(30)
    producer.begin_transaction()
    id_ = new_id()
    producer.produce(ORDER_FINAL, key=id_, value=json.dumps({"order_id": id_}))
    producer.flush(30)
    producer.abort_transaction(30)
    example.once()
    assert id_ not in example.orders()


def test_the_example_goes_on_where_it_was_killed(fed: FedShop, example: Example) -> None:
    fed.deployment().worker()
    with fed.load():
        for more in (50, 100):
            process = example.start()
            until(lambda more=more: example.file.exists() and _count(example) > more, "orders are kept")  # type: ignore[misc]
            process.kill()
            process.wait()
    amended = fed.complete[0]
    fed.write("order_details", amended, detail_row(amended, 101, 9))
    fed.tail.wait(ORDER_AMENDED, amended)
    fed.wait_emitted()
    example.once()
    found = example.orders()
    assert set(fed.complete) <= set(found)
    assert found[amended][1] == 1
    assert {found[id_][:2] for id_ in fed.complete[1:]} == {("complete", 0)}


@pytest.mark.nightly
def test_the_example_follows_a_state_that_was_made_anew(fed: FedShop, example: Example) -> None:
    deployment = fed.deployment()
    worker = deployment.worker()
    [id_] = fed.orders(1)
    fed.wait_emitted()
    for quantity in (2, 3):
        fed.write("order_details", id_, detail_row(id_, 101, quantity))
    fed.tail.wait(ORDER_AMENDED, id_, count=2)
    example.once()
    assert example.orders()[id_][1] == 2
    deployment.stop()
    fed.lose_state(deployment.app_id)
    worker.start()
    worker.wait_ready()
    until(lambda: _newest_quantity(fed, id_, count=3) == 3, "the order is stated again")
    example.once()
    status, _, value = example.orders()[id_]
    assert (status, value["products"]) == ("complete", [{"product_id": 101, "quantity": 3}])
    assert value == fed.tail.of(ORDER_AMENDED, id_)[-1].value


def test_every_record_fits_the_schema_of_its_topic(fed: FedShop) -> None:
    fed.deployment(INCOMPLETE_AFTER_S="0.2").worker()
    [changed] = fed.orders(1)
    late = [fed.order(num_products=2), fed.order(num_products=2, lines=0)]
    fed.wait_emitted()
    fed.write("order_details", changed, detail_row(changed, 101, 7))
    fed.tail.wait(ORDER_AMENDED, changed)
    for id_ in late:
        fed.tail.wait(ORDER_INCOMPLETE, id_)
    for topic in (ORDER_FINAL, ORDER_AMENDED, ORDER_INCOMPLETE):
        records = fed.tail.of(topic)
        assert records
        assert [fault for record in records for fault in record_faults(topic, record.raw or b"")] == []


def _count(example: Example) -> int:
    database = sqlite3.connect(example.file, timeout=30)
    try:
        [(count,)] = database.execute("SELECT count(*) FROM orders").fetchall()
    except sqlite3.OperationalError:  # the example has not made its tables yet
        return 0
    finally:
        database.close()
    return int(count)


def _newest_quantity(fed: FedShop, order_id: str, *, count: int) -> int:
    fed.tail.poll()
    records = fed.tail.of(ORDER_AMENDED, order_id)
    return int(records[-1].value["products"][0]["quantity"]) if len(records) >= count else -1
