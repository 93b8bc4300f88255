"""Goal: a value above the limit of another row, and one that goes back, are counted; no other row is, in whatever runs
the versions arrive.

Method: the marketplace's payments, orders and their states in a lake in a folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from config.dataset import load_definition
from config.lake_names import in_lake
from tests.lake.lake import Change, LocalLake

STORE = in_lake(load_definition("online_store"))
DAY = "2025-01-01 00:00:00"
ABOVE, BACK = "at_most(amount)", "forward(status)"


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> LocalLake:
    return LocalLake(spark, tmp_path, STORE)


def order(at: int, status: str = "new", *, key: str = "o", op: str = "u", total: str = "10.00") -> Change:
    row = {"order_id": key, "customer_id": 1, "status": status, "total_amount": total}
    return Change("orders", at, row | {"order_date": DAY, "updated_at": DAY}, op)


def payment(at: int, amount: str | None, *, key: str = "p", order_id: str = "o", op: str = "u") -> Change:
    row = {"payment_id": key, "order_id": order_id, "method": "card", "status": "paid", "amount": amount}
    return Change("payments", at, row | {"created_at": DAY, "updated_at": DAY}, op)


def counted(lake: LocalLake, *runs: list[Change], table: str, rule: str) -> list[int]:
    """How many rows each of the runs counts."""
    found = []
    for changes in runs:
        lake.land(changes, every=True)
        found.append(lake.refine("orders", table)[table].rejected.get(rule, 0))
    return found


def test_payments_above_their_order_are_counted_and_stay(lake: LocalLake) -> None:
    first = [
        order(1),
        order(2, key="gone", op="d"),
        payment(3, "10.00", key="right"),
        payment(4, "10.01", key="above"),
        payment(5, "99", key="of nothing", order_id="missing"),
        payment(6, "99", key="of a deleted one", order_id="gone"),
        payment(7, "99", key="deleted", op="d"),
        payment(8, None, key="without"),
    ]
    later = [payment(9, "10.02"), order(10, total="11.00")]
    assert counted(lake, first, later, [], table="payments", rule=ABOVE) == [1, 0, 0]
    assert ("above",) in lake.live("payments", "payment_id")
    assert counted(lake, [payment(11, "11.01")], table="payments", rule=ABOVE) == [1]


@pytest.mark.parametrize(
    ("runs", "counts"),
    [
        ([["new", "paid", "shipped"], ["delivered"], ["returned"]], [0, 0, 0]),
        ([["new", "shipped", "paid", "shipped"]], [1]),
        ([["shipped"], ["paid"], ["paid"], ["shipped"]], [0, 1, 0, 0]),
        ([["paid", "lost", "new"]], [0]),  # what the rule does not name is not compared
        ([["paid", None, "new"]], [0]),  # None is a delete
    ],
)
def test_a_state_that_goes_back_is_counted_once(lake: LocalLake, runs: list[list[Any]], counts: list[int]) -> None:
    places = iter(range(1, 100))
    changes = [[order(next(places), state or "paid", op="u" if state else "d") for state in states] for states in runs]
    assert counted(lake, *changes, table="orders", rule=BACK) == counts


def test_a_version_that_arrives_late_is_compared_with_those_before_it(lake: LocalLake) -> None:
    runs = [[order(1, "new"), order(5, "shipped")], [order(3, "paid")], [order(4, "new")]]
    assert counted(lake, *runs, table="orders", rule=BACK) == [0, 0, 0]
    assert lake.live("orders", "status") == {("shipped",)}
    assert counted(lake, [order(7, "new"), order(6, "paid")], table="orders", rule=BACK) == [2]
