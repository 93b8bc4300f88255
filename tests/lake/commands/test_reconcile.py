"""Goal: reconcile says equal, different or behind as it is, names the rows, and repairs what no run can mend.

Method: the shop's database is changed behind the connector's back, and before and after runs; the verdict is the
command's exit code, and Gold is compared with plain SQL.
"""

from __future__ import annotations

import threading

import pytest

from config.database_settings import DatabaseSettings
from config.settings import KafkaSettings
from ops.connector.repair import repair
from ops.connector.sweep import sweep
from ops.dataset.check import check
from ops.dataset.newest import NO_LONGER_EXISTS
from ops.dataset.simulation import Simulation
from tests.support.background import in_background
from tests.support.lake.oracle import differences
from tests.support.lake.shop_statements import line, live, new_id, order
from tests.support.lake.testbed import LakeTestbed

EQUAL, DIFFERENT, BEHIND, CANNOT_TELL = 0, 1, 2, 3
LIMIT_S = 30.0

SOLD, SPOILED, REPAIRED = (new_id() for _ in range(3))
"""Orders of these tests, which are in the lake; each is changed by one of them."""


@pytest.fixture(scope="module")
def filled(testbed: LakeTestbed) -> LakeTestbed:
    for id_ in (SOLD, SPOILED, REPAIRED):
        testbed.change(order(id_), line(id_))
    testbed.until_archived()
    testbed.batch("run", "--wait")
    return testbed


def test_a_lake_that_is_up_to_date_is_equal(filled: LakeTestbed) -> None:
    answer = filled.batch("reconcile", "--table", "fact_orders", code=EQUAL)
    assert "verdict: equal" in answer.out
    assert "gold/fact_orders" in answer.out


def test_changes_that_no_run_has_taken_yet_are_behind(filled: LakeTestbed) -> None:
    filled.change(order(new_id()), ("UPDATE order_details SET quantity = 9 WHERE order_id = %s", [SOLD]))
    answer = filled.batch("reconcile", "--table", "fact_order_products", code=BEHIND)
    assert "verdict: behind" in answer.out
    filled.until_archived()
    filled.batch("run", "--layer", "bronze", "--wait")
    filled.batch("reconcile", "--table", "fact_order_products", code=BEHIND)
    filled.batch("run", "--wait")
    filled.batch("reconcile", "--table", "fact_order_products", code=EQUAL)


@pytest.mark.nightly  # the repair in stream and lake below runs on every push
def test_what_nobody_logged_is_different_and_is_repaired(filled: LakeTestbed) -> None:
    added = new_id()
    filled.change_unlogged(
        order(added),
        ("UPDATE orders SET customer_id = 9 WHERE id = %s", [SPOILED]),
        ("DELETE FROM order_details WHERE order_id = %s", [SPOILED]),
    )
    filled.batch("run", "--wait")
    shown = ["--table", "fact_order_products"]
    answer = filled.batch("reconcile", *shown, code=DIFFERENT)
    for told in (
        f"silver/orders: id={added}: exists only in the source",
        f"silver/orders: id={SPOILED}: differs from the source",
        f"silver/order_details: order_id={SPOILED}, product_id=1: no longer exists in the source",
        f"gold/fact_order_products: order_id={SPOILED}, product_id=1: no longer exists in the source",
    ):
        assert told in answer.out
    answer = filled.batch("reconcile", *shown, "--repair", "--wait", code=EQUAL)
    assert "verdict: equal" in answer.out
    assert differences(filled) == {}


@pytest.mark.nightly  # test_backfill proves the same rule on every push
def test_a_later_change_wins_over_a_repair(filled: LakeTestbed) -> None:
    filled.change_unlogged(("UPDATE orders SET customer_id = 21 WHERE id = %s", [REPAIRED]))
    filled.batch("reconcile", "--table", "orders", "--repair", "--wait", code=EQUAL)
    filled.change(("UPDATE orders SET customer_id = 22 WHERE id = %s", [REPAIRED]))
    filled.until_archived()
    filled.batch("run", "--wait")
    assert filled.gold("SELECT customer_id FROM fact_orders WHERE order_id = ?", REPAIRED) == [(22,)]


def test_orders_whose_changes_were_never_captured_are_repaired_in_stream_and_lake(filled: LakeTestbed) -> None:
    changed, added = new_id(), new_id()
    filled.change(order(changed), line(changed))
    filled.until_archived()
    filled.change_unlogged(
        ("UPDATE order_details SET quantity = 9 WHERE order_id = %s", [changed]), order(added), line(added)
    )
    database, kafka = DatabaseSettings.read(filled.environment), KafkaSettings.read(filled.environment)
    verdict = check(database, kafka, filled.definition, with_amendments=True)
    assert (added in verdict.missing, verdict.stale.get(changed)) == (True, "differs in products")
    tables = repair(database, kafka.bootstrap, filled.definition, verdict.repairable)
    assert min(table.rows for table in tables) >= 2
    verdict = check(database, kafka, filled.definition, timeout_s=LIMIT_S, with_amendments=True)
    assert not {added, changed} & {*verdict.repairable}
    filled.change(("UPDATE order_details SET quantity = 3 WHERE order_id = %s", [changed]))
    filled.until_archived()
    filled.batch("run", "--wait")
    rows = filled.gold(
        "SELECT order_id, quantity FROM fact_order_products WHERE order_id IN (?, ?) ORDER BY quantity", added, changed
    )
    assert rows == [(added, 2), (changed, 3)], "a later change takes precedence"


def test_rows_that_vanished_without_a_captured_deletion_are_swept_from_stream_and_lake(filled: LakeTestbed) -> None:
    stays, vanished = new_id(), new_id()
    filled.change(order(stays), line(stays), order(vanished), line(vanished))
    filled.until_archived()
    database, kafka = DatabaseSettings.read(filled.environment), KafkaSettings.read(filled.environment)
    verdict = check(database, kafka, filled.definition, timeout_s=LIMIT_S, with_amendments=True)
    assert not verdict.stale.keys() & {stays, vanished}
    filled.change_unlogged(
        ("DELETE FROM order_details WHERE order_id = %s", [vanished]), ("DELETE FROM orders WHERE id = %s", [vanished])
    )
    stale = check(database, kafka, filled.definition, with_amendments=True).stale
    assert (stale.get(vanished), stays in stale) == (NO_LONGER_EXISTS, False)
    swept = {found.table: found.gone for found in sweep(database, kafka.bootstrap, filled.definition)}
    assert min(swept["orders"], swept["order_details"]) >= 1
    assert sum(found.gone for found in sweep(database, kafka.bootstrap, filled.definition)) == 0, "nothing is left"
    filled.until_archived()
    stale = check(database, kafka, filled.definition, with_amendments=True).stale
    assert not stale.keys() & {stays, vanished}
    filled.batch("run", "--wait")
    assert filled.gold("SELECT order_id FROM fact_orders WHERE order_id IN (?, ?)", stays, vanished) == [(stays,)]


def test_a_source_that_lost_much_is_not_copied_without_being_told_to(filled: LakeTestbed) -> None:
    kept = filled.rows("SELECT * FROM customers")
    half = "DELETE FROM customers WHERE id % 2 = 0"
    filled.change_unlogged((half, ()))
    try:
        answer = filled.batch("reconcile", "--table", "customers", "--repair", "--wait", code=CANNOT_TELL)
        assert "--force" in answer.err
        assert "--force" in answer.err
    finally:
        marks = ", ".join(["(%s, %s, %s, %s, %s, %s, %s)"] * len(kept))
        values = [value for row in kept for value in row]
        filled.change_unlogged((f"INSERT IGNORE INTO customers VALUES {marks}", values))  # noqa: S608
    filled.batch("reconcile", "--table", "customers", code=EQUAL)


@pytest.mark.nightly
def test_a_live_shop_is_behind_at_most(filled: LakeTestbed) -> None:
    simulation = Simulation(insert_p=0.5, update_p=0.3, delete_p=0.2, rate_per_s=20, seed=3)

    def going_on(stop: threading.Event) -> None:
        live(filled, simulation, stop)

    with in_background(going_on, "shop"):
        filled.batch("run", "--wait")
        answer = filled.batch("reconcile", "--table", "fact_order_products", code=None)
        assert answer.code in (EQUAL, BEHIND), answer.text


def test_a_database_that_is_away_is_named(filled: LakeTestbed) -> None:
    filled.stack.down(only=["mariadb"])
    try:
        answer = filled.batch("reconcile", "--table", "orders", code=CANNOT_TELL)
    finally:
        filled.stack.start("mariadb")
    assert "database does not answer" in answer.err
    assert "Traceback" not in answer.text
