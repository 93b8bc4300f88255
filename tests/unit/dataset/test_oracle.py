"""Goal: each way in which the topic can disagree with the database has its own verdict.

Method: compare hand-made orders with hand-made records; records are decoded from bytes as they are on the topic.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.dataset.cli import describe
from ops.dataset.final_topic import FinalRecord, Order, PaymentMethod, Product, decode
from ops.dataset.oracle import compare, differences


def order(order_id: str = "a", **changes: Any) -> Order:
    values: dict[str, Any] = {
        "order_id": order_id,
        "customer_id": 1,
        "store_id": 2,
        "payment_method": PaymentMethod(3, "card", "bank"),
        "num_products": 2,
        "products": [Product(10, 1), Product(11, 5)],
        "ordered_at": "2025-03-01T12:00:00.000000Z",
    }
    return Order(**{**values, **changes})


def record(order_id: str = "a", **changes: Any) -> FinalRecord:
    return FinalRecord(order_id, order(order_id, **changes))


def test_one_record_for_each_complete_order_passes() -> None:
    verdict = compare({"a": order("a"), "b": order("b")}, [record("b"), record("a")], strict=True)
    assert verdict.passed
    assert (verdict.complete, verdict.records, verdict.distinct, verdict.duplicates) == (2, 2, 2, 0)


def test_nothing_expected_and_nothing_there_passes() -> None:
    assert compare({}, []).passed


def test_a_complete_order_without_a_record_is_missing() -> None:
    verdict = compare({"a": order("a"), "b": order("b")}, [record("a")])
    assert not verdict.passed
    assert verdict.missing == ["b"]


def test_an_order_that_is_there_three_times_is_two_duplicates() -> None:
    verdict = compare({"a": order("a")}, [record("a")] * 3)
    assert not verdict.passed
    assert (verdict.duplicates, verdict.repeated) == (2, ["a"])


def test_a_duplicate_of_an_order_that_was_deleted_since_is_a_duplicate_too() -> None:
    assert compare({}, [record("a")] * 2).duplicates == 1


def test_a_record_of_an_order_that_is_not_complete_now_is_information_only() -> None:
    verdict = compare({}, [record("a")])
    assert verdict.unexpected == ["a"]
    assert verdict.passed


def test_fields_are_compared_only_when_strict() -> None:
    records = [record("a", customer_id=9)]
    assert compare({"a": order("a")}, records).passed
    verdict = compare({"a": order("a")}, records, strict=True)
    assert not verdict.passed
    assert verdict.different == ["a: customer_id"]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, []),
        ({"customer_id": 9}, ["customer_id"]),
        ({"store_id": 9}, ["store_id"]),
        ({"payment_method": PaymentMethod(3, None, None)}, ["payment_method"]),
        ({"num_products": 1}, ["num_products"]),
        ({"products": [Product(11, 5), Product(10, 1)]}, []),
        ({"products": [Product(10, 1), Product(11, 6)]}, ["products"]),
        ({"products": [Product(10, 1)]}, ["products"]),
        ({"products": [Product(10, 1), Product(10, 1), Product(11, 5)]}, ["products"]),
        ({"products": [Product(10, 1), Product(11, 5), Product(12, 1)]}, ["products"]),
        ({"ordered_at": "2025-03-01T13:00:00+01:00"}, []),
        ({"ordered_at": "2025-03-01T12:00:00.000001Z"}, ["ordered_at"]),
        ({"ordered_at": "2025-03-01T12:00:00"}, ["ordered_at"]),
        ({"ordered_at": "yesterday"}, ["ordered_at"]),
    ],
)
def test_each_field_that_differs_is_named(changes: dict[str, Any], fields: list[str]) -> None:
    assert differences(order(), order(**changes)) == fields


def test_lines_that_came_after_completion_may_be_absent_from_the_record() -> None:
    assert differences(order(num_products=1), order(num_products=1, products=[Product(11, 5)])) == []


VALUE: dict[str, Any] = {
    "order_id": "a",
    "customer_id": 1,
    "store_id": 2,
    "payment_method": {"id": 3, "name": "card", "bank": None},
    "num_products": 1,
    "products": [{"product_id": 10, "quantity": 1}],
    "ordered_at": "2025-03-01T12:00:00.000000Z",
    "position": {"file": "binlog.000001", "pos": 4},
}


def test_a_record_is_read_from_json_and_may_hold_more_fields() -> None:
    found = decode(b"a", json.dumps(VALUE).encode())
    assert found.fault is None
    assert found.order is not None
    assert found.order.payment_method == PaymentMethod(3, "card", None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"a", None),
        (b"a", b"{"),
        (b"a", b"[]"),
        (b"a", json.dumps({**VALUE, "products": "none"}).encode()),
        (b"a", json.dumps({name: VALUE[name] for name in VALUE if name != "store_id"}).encode()),
        (b'"a"', json.dumps(VALUE).encode()),
        (b"b", json.dumps(VALUE).encode()),
        (None, json.dumps(VALUE).encode()),
        (b"\xff", json.dumps(VALUE).encode()),
    ],
)
def test_a_record_that_is_no_order_under_its_id_fails_the_check(key: bytes | None, value: bytes | None) -> None:
    verdict = compare({}, [decode(key, value)])
    assert len(verdict.malformed) == 1
    assert not verdict.passed


def test_the_verdict_is_told_to_people_and_to_programs() -> None:
    verdict = compare({"a": order("a"), "b": order("b")}, [record("a"), record("a", store_id=7)], strict=True)
    assert json.loads(json.dumps(verdict.figures())) == {
        "passed": False,
        "strict": True,
        "complete": 2,
        "records": 2,
        "distinct": 1,
        "duplicates": 1,
        "missing": 1,
        "unexpected": 0,
        "malformed": 0,
        "stale": 0,
        "different": 1,
        "examples": {"missing": ["b"], "repeated": ["a"], "different": ["a: store_id"]},
    }
    text = describe(verdict)
    assert "missing               1" in text
    assert text.endswith("FAILED")
