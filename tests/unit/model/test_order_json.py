"""Published records have exactly the documented JSON: names, their order, and times in UTC.

Method: the text itself, as a consumer reads it from the topic.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec

from streams.model.order import OrderState, fold_order, fold_order_detail
from streams.model.published import AmendedOrder, CompleteOrder, OrderStatus, PaymentMethod, Product, SourcePosition
from tests.support.builders import ORDERED_AT, detail_change, order_change, read_at

COMPLETE = CompleteOrder(
    order_id="order-1",
    customer_id=11,
    store_id=22,
    payment_method=PaymentMethod(3, "Visa", "First Bank"),
    num_products=2,
    products=[Product(101, 1), Product(102, 4)],
    ordered_at=ORDERED_AT,
    source=SourcePosition(0, 3, 1_000, 0),
)


def test_a_complete_order_reads_as_documented() -> None:
    assert msgspec.json.encode(COMPLETE).decode() == (
        '{"order_id":"order-1","customer_id":11,"store_id":22,'
        '"payment_method":{"id":3,"name":"Visa","bank":"First Bank"},'
        '"num_products":2,"products":[{"product_id":101,"quantity":1},{"product_id":102,"quantity":4}],'
        '"ordered_at":"2026-01-02T03:04:05.000006Z","source":{"epoch":0,"file":3,"pos":1000,"row":0}}'
    )


def test_an_amended_order_reads_as_documented() -> None:
    amended = AmendedOrder(
        order_id="order-1",
        status=OrderStatus.DELETED,
        revision=7,
        customer_id=None,
        store_id=None,
        payment_method=None,
        num_products=1,
        products=[],
        ordered_at=ORDERED_AT,
        source=SourcePosition(1, 3, 1_000, -1),
    )
    assert msgspec.json.encode(amended).decode() == (
        '{"order_id":"order-1","status":"deleted","revision":7,"customer_id":null,"store_id":null,'
        '"payment_method":null,"num_products":1,"products":[],'
        '"ordered_at":"2026-01-02T03:04:05.000006Z","source":{"epoch":1,"file":3,"pos":1000,"row":-1}}'
    )


def test_an_unknown_payment_method_has_its_id_and_null_for_the_rest() -> None:
    assert msgspec.json.encode(PaymentMethod(3)) == b'{"id":3,"name":null,"bank":null}'


def test_statuses_are_the_words_complete_incomplete_and_deleted() -> None:
    assert [str(status) for status in OrderStatus] == ["complete", "incomplete", "deleted"]


def test_a_time_without_zone_or_fraction_ends_in_z_too() -> None:
    state = OrderState()
    fold_order_detail(state, detail_change(10))
    naive = datetime(2026, 7, 1, 12)
    published = fold_order(state, order_change(20, num_products=1, timestamp=naive))
    assert json.loads(msgspec.json.encode(published))["ordered_at"] == "2026-07-01T12:00:00Z"


def test_a_snapshot_read_is_published_with_row_minus_one() -> None:
    state = OrderState()
    fold_order_detail(state, detail_change(10))
    published = fold_order(state, order_change(read_at(20), num_products=1, timestamp=datetime(2026, 7, 1, tzinfo=UTC)))
    assert json.loads(msgspec.json.encode(published))["source"] == {"epoch": 0, "file": 3, "pos": 20, "row": -1}
