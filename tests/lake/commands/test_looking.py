"""Goal: people see the lake as the newest run left it, and every mistake of theirs is named with what to do.

Method: the commands on the shop's lake.
"""

from __future__ import annotations

import pytest

from tests.support.lake.testbed import LakeTestbed


@pytest.fixture(scope="module")
def filled(testbed: LakeTestbed) -> LakeTestbed:
    testbed.until_archived()
    testbed.batch("run", "--wait")
    return testbed


@pytest.mark.parametrize("layer", ["bronze", "silver"])
def test_rows_of_a_layer_are_shown(filled: LakeTestbed, layer: str) -> None:
    out = filled.batch("show", "orders", "--layer", layer, "--limit", "3").out.splitlines()
    assert len(out) == 5
    assert out[0].split()[:3] == ["id", "customer_id", "store_id"]
    assert out[-1] == "(first 3 rows; there are more)"


def test_a_gold_table_is_found_by_its_name(filled: LakeTestbed) -> None:
    assert "payment_method_id" in filled.batch("show", "dim_payment_method").out


def test_a_query_sees_gold_and_silver(filled: LakeTestbed) -> None:
    query = "select (select count(*) from fact_orders) facts, (select count(*) from orders) orders"
    facts, orders = filled.batch("sql", query).out.splitlines()[1].split()
    assert facts == orders
    assert int(facts) > 100


def test_history_lists_runs_and_versions(filled: LakeTestbed) -> None:
    assert "RUN" in filled.batch("history").out
    versions = filled.batch("history", "orders", "--limit", "1000").out
    assert "bronze" in versions
    assert "silver" in versions


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--dataset", "nonsense"], "unknown dataset 'nonsense' (known: "),
        (["run", "--table", "nonsense"], "has no table 'nonsense': use one of bronze: payment_method, "),
        (["run", "--layer", "platinum"], "'platinum'"),
        (["run", "--layer", "gold", "--table", "orders"], "has no table 'orders': use one of gold: dim_customer, "),
        (["show", "nonsense"], "has no table 'nonsense'"),
        (["sql", "select * from nonsense"], "nonsense"),
        (["sql", "selekt 1"], "selekt"),
        (["run", "--since", "2025-02-01", "--until", "2025-01-01"], "--until"),
    ],
)
def test_a_mistake_is_named_in_one_line(filled: LakeTestbed, arguments: list[str], told: str) -> None:
    answer = filled.batch(*arguments, code=1)
    assert told in answer.err
    assert len(answer.err.splitlines()) == 1
    assert "Traceback" not in answer.err
