"""Goal: only an unexplained difference counts as different, and its rows are named by their keys.

Method: hand-made findings and plans; no server, no Spark.
"""

from __future__ import annotations

import json

import pytest

from batch.gold import plans
from batch.reconcile.buckets import Pair, key_text
from batch.reconcile.explained import Explained, concerned
from batch.reconcile.pending_changes import images
from batch.reconcile.verdict import Finding, Verdict, finding_members, overall, report, verdict_line
from config.dataset import load_definition

SHOP = load_definition("project_db")
PAYMENT_METHOD = SHOP.table("payment_method")
PLANS = {plan.name: plan for plan in plans(SHOP)}
A, B, C = (key_text([name]) for name in "abc")
ROWS = {A: Pair("1", None), B: Pair(None, "1"), C: Pair("1", "2")}


def finding(**changes: object) -> Finding:
    values: dict[str, object] = {"name": "silver/orders", "key": ["id"], "source_rows": 3, "lake_rows": 3}
    return Finding(**(values | changes))  # type: ignore[arg-type]


def test_nothing_that_differs_is_equal() -> None:
    assert finding().verdict is Verdict.EQUAL


def test_unexplained_rows_are_different() -> None:
    found = finding(rows=ROWS, behind={A}, quarantined={B})
    assert found.different == [C]
    assert found.verdict is Verdict.DIFFERENT


def test_pending_rows_are_behind_and_quarantined_rows_are_equal() -> None:
    assert finding(rows=ROWS, behind={A, B, C}).verdict is Verdict.BEHIND
    assert finding(rows=ROWS, quarantined={A, B, C}).verdict is Verdict.EQUAL
    assert finding(is_behind=True).verdict is Verdict.BEHIND


def test_different_outweighs_behind_and_behind_outweighs_equal() -> None:
    equal, behind, different = finding(), finding(is_behind=True), finding(rows=ROWS)
    assert overall([equal, behind, different]) is Verdict.DIFFERENT
    assert overall([equal, behind]) is Verdict.BEHIND
    assert overall([equal]) is overall([]) is Verdict.EQUAL
    assert [int(each) for each in Verdict] == [0, 1, 2]


def test_differing_keys_are_named_with_what_is_wrong() -> None:
    lines = report([finding(rows=ROWS, quarantined={B})]).splitlines()
    assert lines[1].split() == ["silver/orders", "3", "3", "2", "0", "1", "different"]
    assert lines[2:] == [
        "silver/orders: id=a: exists only in the source",
        "silver/orders: id=c: differs from the source",
    ]


def test_a_row_that_is_repeated_is_named_so() -> None:
    found = finding(rows={A: Pair("once", "3 times")}, how={A: "is in the topic 3 times"})
    assert report([found]).splitlines()[-1] == "silver/orders: id=a: is in the topic 3 times"
    assert finding_members(found)["examples"] == [{"key": {"id": "a"}, "how": "is in the topic 3 times"}]


def test_a_table_that_was_not_compared_is_neither_equal_nor_different_and_is_named() -> None:
    skipped = finding(name="gold/mine", is_compared=False, note="(no query oracle/mine.sql)")
    assert skipped.verdict is None
    assert overall([finding(), skipped]) is Verdict.EQUAL
    assert verdict_line([finding(), skipped]) == "verdict: equal; not compared: gold/mine"
    words = report([skipped]).splitlines()[1].split()
    assert words[:8] == ["gold/mine", *"-----", "not", "compared"]
    assert finding_members(skipped)["state"] == "not compared"


def test_many_differing_keys_are_counted() -> None:
    rows = {key_text([number]): Pair(None, "1") for number in range(25)}
    lines = report([finding(rows=rows)]).splitlines()
    assert len(lines) == 2 + 10 + 1
    assert lines[-1] == "silver/orders: and 15 more"


def test_a_pending_order_explains_its_fact_and_its_lines() -> None:
    orders = Explained(keys={A}, rows=[{"id": "a", "customer_id": 7}])
    lines = {key_text(["a", 1]), key_text(["b", 1])}
    assert concerned(PLANS["fact_orders"], {A, B}, {"orders": orders}) == {A}
    assert concerned(PLANS["fact_order_products"], lines, {"orders": orders}) == {key_text(["a", 1])}
    assert concerned(PLANS["dim_product"], {key_text([1])}, {"orders": orders}) == set()


def test_a_pending_order_explains_its_current_and_former_members() -> None:
    orders = Explained(rows=[{"id": "a", "customer_id": 7}, {"id": "a", "customer_id": 8}])
    customers = {key_text([number]) for number in (7, 8, 9)}
    found = concerned(PLANS["dim_customer"], customers, {"orders": orders})
    assert found == {key_text([7]), key_text([8])}


def test_a_table_that_depends_on_all_rows_is_explained_by_any() -> None:
    days = {key_text([20250101])}
    assert concerned(PLANS["dim_date"], days, {"orders": Explained(rows=[{"id": "a"}])}) == days
    assert concerned(PLANS["dim_date"], days, {"orders": Explained()}) == set()
    assert concerned(PLANS["fact_orders"], {A}, {"orders": Explained(is_all=True)}) == {A}


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_change_shows_its_row_before_and_after(is_wrapped: bool) -> None:
    envelope = {"op": "u", "before": {"id": 1, "x": "old"}, "after": {"id": 1, "x": "new"}}
    value = json.dumps({"schema": {}, "payload": envelope} if is_wrapped else envelope).encode()
    assert images(value, PAYMENT_METHOD) == [{"id": 1, "x": "old"}, {"id": 1, "x": "new"}]


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b'{"before": null, "after": null}', b'{"after": 3}'])
def test_a_value_that_is_not_a_change_has_no_images(value: bytes | None) -> None:
    assert images(value, PAYMENT_METHOD) == []
