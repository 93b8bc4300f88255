"""Goal: each order that becomes complete is published once, with the values of the database, in any course of events.

Method: real servers and one worker; a test changes the database and waits for what comes out, read committed.
"""

from __future__ import annotations

import pytest

from demo.workers import Worker
from streams.topics import DEAD_LETTERS, ORDER_AMENDED, ORDER_FINAL, change_topic
from tests.streams.orders.live_shop import Shop, line, new_id, order
from tests.support.builders import created, order_row

pytestmark = pytest.mark.usefixtures("worker")


def test_every_order_of_the_snapshot_is_published_once(shop: Shop) -> None:
    verdict = shop.verdict()
    assert verdict.complete >= 1_000
    assert verdict.passed, verdict.figures()


def test_a_live_order_is_published_with_every_field(shop: Shop) -> None:
    id_ = new_id()
    shop.transaction(order(id_, 2, payment_method_id=3), line(id_, 40, 5), line(id_, 20, 1))
    [record] = shop.tail.wait(ORDER_FINAL, id_)
    value = record.value
    source = value.pop("source")
    method = value.pop("payment_method")
    assert value == {
        "order_id": id_,
        "customer_id": 7,
        "store_id": 8,
        "num_products": 2,
        "products": [{"product_id": 20, "quantity": 1}, {"product_id": 40, "quantity": 5}],
        "ordered_at": "2025-05-06T07:08:09.123456Z",
    }
    assert method["id"] == 3
    assert method["name"]
    assert method["bank"]
    assert source["file"] >= 1
    assert source["pos"] > 0


def test_details_that_arrive_before_their_order_still_complete_it(shop: Shop) -> None:
    id_ = new_id()
    shop.transaction(line(id_, 1))
    shop.transaction(line(id_, 2))
    shop.transaction(order(id_, 2))
    assert len(shop.tail.wait(ORDER_FINAL, id_)) == 1


def test_an_order_waits_for_its_last_product(shop: Shop) -> None:
    id_, other = new_id(), new_id()
    shop.transaction(order(id_, 2), line(id_, 1))
    shop.transaction(order(other, 1), line(other, 1))
    shop.tail.wait(ORDER_FINAL, other)
    assert shop.tail.of(ORDER_FINAL, id_) == []
    shop.transaction(line(id_, 2))
    assert len(shop.tail.wait(ORDER_FINAL, id_)) == 1


def test_a_lower_num_products_completes_an_order(shop: Shop) -> None:
    id_ = new_id()
    shop.transaction(order(id_, 3), line(id_, 1), line(id_, 2))
    shop.transaction(("UPDATE orders SET num_products = 2 WHERE id = %s", (id_,)))
    [record] = shop.tail.wait(ORDER_FINAL, id_)
    assert record.value["num_products"] == 2


def test_a_product_deleted_before_completion_does_not_count(shop: Shop) -> None:
    id_ = new_id()
    shop.transaction(order(id_, 2), line(id_, 1))
    shop.transaction(("DELETE FROM order_details WHERE order_id = %s AND product_id = 1", (id_,)))
    shop.transaction(line(id_, 2))
    shop.transaction(line(id_, 3))
    [record] = shop.tail.wait(ORDER_FINAL, id_)
    assert [product["product_id"] for product in record.value["products"]] == [2, 3]


def test_changes_after_the_emission_are_amendments_and_never_a_second_order(shop: Shop) -> None:
    id_ = new_id()
    shop.transaction(order(id_, 1), line(id_, 1, 2))
    shop.tail.wait(ORDER_FINAL, id_)
    shop.transaction(("UPDATE order_details SET quantity = 9 WHERE order_id = %s", (id_,)))
    shop.tail.wait(ORDER_AMENDED, id_)  # the two topics are not ordered together
    shop.transaction(("DELETE FROM orders WHERE id = %s", (id_,)))
    first, second = (record.value for record in shop.tail.wait(ORDER_AMENDED, id_, count=2))
    assert (first["status"], first["revision"]) == ("complete", 1)
    assert first["products"] == [{"product_id": 1, "quantity": 9}]
    assert (second["status"], second["revision"]) == ("deleted", 2)
    assert len(shop.tail.of(ORDER_FINAL, id_)) == 1


def test_an_order_deleted_before_it_was_complete_is_never_published(shop: Shop) -> None:
    id_, other = new_id(), new_id()
    shop.transaction(order(id_, 2), line(id_, 1))
    shop.transaction(("DELETE FROM orders WHERE id = %s", (id_,)))
    shop.transaction(order(other, 1), line(other, 1))
    shop.tail.wait(ORDER_FINAL, other)
    shop.tail.poll(1.0)
    assert shop.tail.of(ORDER_FINAL, id_) == []


def test_a_payment_method_that_was_added_later_is_named(shop: Shop) -> None:
    id_ = new_id()
    shop.transaction(("INSERT INTO payment_method (id, name, bank) VALUES (77, 'Voucher', 'None')", ()))
    shop.transaction(order(id_, 1, payment_method_id=77), line(id_, 1))
    [record] = shop.tail.wait(ORDER_FINAL, id_)
    assert record.value["payment_method"] == {"id": 77, "name": "Voucher", "bank": "None"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b"{ not json", "JSON", id="no JSON"),
        pytest.param(b"", "truncated", id="empty", marks=pytest.mark.nightly),
        pytest.param(b'{"op":"c","after":{"id":"\xff"}}', "utf-8", id="no UTF-8", marks=pytest.mark.nightly),
        pytest.param(b'{"op":"x","source":{},"after":null}', "op", id="unknown op", marks=pytest.mark.nightly),
        pytest.param(
            created(order_row("SOME-KEY", num_products="two")),
            "num_products",
            id="wrong type",
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            created(order_row("SOME-KEY", num_products=0)), "num_products", id="broken rule", marks=pytest.mark.nightly
        ),
        pytest.param(created(order_row("another key")), "key", id="wrong key"),
    ],
)
def test_a_bad_record_goes_to_the_dead_letters_and_costs_only_itself(shop: Shop, value: bytes, reason: str) -> None:
    topic, good = change_topic("project_db", "orders"), new_id()
    before = len(shop.tail.of(DEAD_LETTERS, "SOME-KEY"))
    shop.produce(topic, b"SOME-KEY", value)
    shop.transaction(order(good, 1), line(good, 1))
    dead = shop.tail.wait(DEAD_LETTERS, "SOME-KEY", count=before + 1)[-1]
    assert dead.raw == value
    assert reason in dead.headers["reason"]
    assert dead.headers["topic"] == topic
    assert dead.headers["partition"] == str(dead.partition)
    assert int(dead.headers["offset"]) >= 0
    assert len(shop.tail.wait(ORDER_FINAL, good)) == 1
    assert len(shop.tail.of(DEAD_LETTERS, "SOME-KEY")) == before + 1


def test_a_record_without_a_value_changes_nothing(shop: Shop, worker: Worker) -> None:
    id_ = new_id()
    shop.produce(change_topic("project_db", "orders"), id_.encode(), None)
    shop.transaction(order(id_, 1), line(id_, 1))
    assert len(shop.tail.wait(ORDER_FINAL, id_)) == 1
    stats = worker.stats()
    assert stats is not None
    assert stats["tombstones"] >= 1


def test_a_replayed_change_publishes_nothing_again(shop: Shop, worker: Worker) -> None:
    id_ = new_id()
    shop.transaction(order(id_, 1), line(id_, 1))
    shop.tail.wait(ORDER_FINAL, id_)
    late = created(order_row(id_, num_products=1), at=(0, 1, 4, 0))
    for _ in range(3):
        shop.produce(change_topic("project_db", "orders"), id_.encode(), late)
    other = new_id()
    shop.transaction(order(other, 1), line(other, 1))
    shop.tail.wait(ORDER_FINAL, other)
    shop.tail.poll(1.0)
    assert len(shop.tail.of(ORDER_FINAL, id_)) == 1
    assert shop.tail.of(ORDER_AMENDED, id_) == []
