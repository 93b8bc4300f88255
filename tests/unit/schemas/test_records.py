"""Goal: whatever is published fits the schema file of its topic, and the files say what every field means.

Method: the real folds make records of every shape, also over drawn histories; the real encoder writes them, and a
validator that knows nothing of the code reads them against the files.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from streams.model.order import OrderState, as_utc, fold_order, fold_order_detail
from streams.model.order_life import deny, report_overdue, restate
from streams.model.published import AmendedOrder, CompleteOrder, IncompleteOrder, PaymentMethod
from streams.schemas.contracts import PUBLISHED
from streams.topics import ORDER_AMENDED, ORDER_FINAL, ORDER_INCOMPLETE
from tests.support.builders import detail_change, order_change, read_at
from tests.unit.model.strategies import Step, delivered, deliveries, histories, shop_after
from tests.unit.schemas.valid import record_faults, schema_file

HIGHEST = 2**63 - 1
TOPIC_OF = {struct: topic for topic, (struct, _) in PUBLISHED.items()}


def published(*changes: Any) -> list[Any]:
    """What the folds answer to changes of one order."""
    state = OrderState()
    answers = [(fold_order_detail if hasattr(c.row, "quantity") else fold_order)(state, c) for c in changes]
    return [answer for answer in answers if type(answer) in TOPIC_OF]


def overdue(*changes: Any, held: bool = False) -> IncompleteOrder:
    """The report of an order after changes."""
    state = OrderState()
    for change in changes:
        (fold_order_detail if hasattr(change.row, "quantity") else fold_order)(state, change)
    if held:
        deny(state, emitted_elsewhere=False)
    report = report_overdue(state, "order-1", state.first_seen_ms + 10, 10)
    assert isinstance(report, IncompleteOrder)
    return report


def named(order: Any, name: str | None, bank: str | None) -> Any:
    """The order with what the look-up says of its payment method."""
    order.payment_method = PaymentMethod(order.payment_method.id, name, bank)
    return order


def restated() -> AmendedOrder:
    """An order that a former state had emitted."""
    state = OrderState()
    fold_order(state, order_change(1, num_products=1))
    complete = fold_order_detail(state, detail_change(2))
    assert isinstance(complete, CompleteOrder)
    return restate(state, complete)


COMPLETED = (order_change(1, num_products=1), detail_change(2))
NULLS: dict[str, Any] = {"customer_id": None, "store_id": None, "payment_method_id": None}
SHAPES = {
    "complete": published(*COMPLETED),
    "complete, with a payment method": [named(published(*COMPLETED)[0], "Visa", "First Bank – Köln")],
    "complete, nulls": published(order_change(1, num_products=1, **NULLS), detail_change(2)),
    "complete, more lines than expected": published(detail_change(1), detail_change(2, product_id=7), COMPLETED[0]),
    "complete, from a snapshot": published(order_change(read_at(9), num_products=1), detail_change(read_at(9))),
    "complete, largest numbers": published(
        order_change(
            (2**31 - 1, HIGHEST, HIGHEST, HIGHEST), customer_id=HIGHEST, store_id=-HIGHEST - 1, num_products=1
        ),
        detail_change(2, product_id=-HIGHEST - 1, quantity=HIGHEST),
    ),
    "complete, earliest time": published(order_change(1, num_products=1, timestamp=datetime(1, 1, 1)), COMPLETED[1]),
    "complete, latest time": published(
        order_change(1, num_products=1, timestamp=as_utc(datetime(9999, 12, 31, 23, 59, 59, 999999, UTC))), COMPLETED[1]
    ),
    "amended": published(*COMPLETED, detail_change(3, quantity=9)),
    "amended, incomplete": published(*COMPLETED, order_change(3, num_products=5)),
    "amended, without lines": published(*COMPLETED, detail_change(3, deleted=True)),
    "amended, deleted": published(*COMPLETED, order_change(3, deleted=True)),
    "amended, deleted and wrong": published(*COMPLETED, order_change(3, deleted=True, num_products=None, **NULLS)),
    "amended, restated": [restated()],
    "overdue, no row": [overdue(detail_change(1))],
    "overdue, products missing": [overdue(order_change(1))],
    "overdue, held": [overdue(*COMPLETED, held=True)],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_record_of_every_shape_fits_its_schema(shape: str) -> None:
    assert SHAPES[shape]
    for order in SHAPES[shape]:
        assert record_faults(TOPIC_OF[type(order)], msgspec.json.encode(order)) == []


def test_the_shapes_are_all_there_are() -> None:
    orders = [order for found in SHAPES.values() for order in found]
    assert {type(order) for order in orders} == set(TOPIC_OF)
    for topic, field in ((ORDER_AMENDED, "status"), (ORDER_INCOMPLETE, "reason")):
        schema = schema_file(topic)
        words = schema["$defs"][schema["properties"][field]["$ref"].rpartition("/")[2]]["enum"]
        assert {getattr(order, field) for order in orders if TOPIC_OF[type(order)] == topic} == set(words)


@given(history=histories, delivery=deliveries)
def test_what_any_history_publishes_fits_its_schema(history: list[Step], delivery: list[Step]) -> None:
    for order in delivered(shop_after(history), delivery).outputs:
        assert record_faults(TOPIC_OF[type(order)], msgspec.json.encode(order)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"order_id": None}, "order_id: None is not of type 'string'"),
        ({"ordered_at": "2026-01-02T03:04:05+01:00"}, "ordered_at: '2026-01-02T03:04:05+01:00' does not match 'Z$'"),
        ({"ordered_at": "yesterdayZ"}, "ordered_at: 'yesterdayZ' is not a 'date-time'"),
        ({"products": []}, "products: [] should be non-empty"),
        ({"num_products": 0}, "num_products: 0 is less than the minimum of 1"),
        ({"colour": "red"}, ": Additional properties are not allowed ('colour' was unexpected)"),
        ({"products": [{"product_id": 1}]}, "products.0: 'quantity' is a required property"),
    ],
)
def test_a_record_that_does_not_fit_is_noticed(change: dict[str, Any], fault: str) -> None:
    value = json.loads(msgspec.json.encode(SHAPES["complete"][0])) | change
    assert record_faults(ORDER_FINAL, json.dumps(value).encode()) == [fault]


@pytest.mark.parametrize("topic", PUBLISHED)
def test_a_schema_is_of_the_2020_dialect_and_describes_every_field(topic: str) -> None:
    schema = schema_file(topic)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:millrace:{topic}:{PUBLISHED[topic][1]}"
    Draft202012Validator.check_schema(schema)
    for shape in (schema, *schema["$defs"].values()):
        assert shape["description"].endswith("."), shape["title"]
        for name, field in shape.get("properties", {}).items():
            assert field["description"].endswith("."), f"{shape['title']}.{name}"
