"""Goal: whatever happens in the shop is in Gold after the next run, once, and runs may be killed at any place.

Method: a live shop on real servers, its changes archived by `streams.archive`; every check compares Gold with plain SQL
in the shop's own database. A run costs the same for one story as for many, so the stories of rows share three runs.
"""

# ruff: noqa: S608 - queries put together from what stands here
from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest

from batch.pipeline.job_record import DATABASE
from batch.pipeline.lease import Lease
from config.settings import RedisSettings
from ops.dataset.simulation import Simulation
from streams.adapters.redis import RedisConsole, Script
from tests.support.lake.oracle import differences
from tests.support.lake.shop_statements import customer, line, live, new_id, order, simulator
from tests.support.lake.testbed import Answer, LakeTestbed, Statement

RECORD: Final = Script("return redis.call('HGETALL', 'batch_jobs:project_db')")

REFUSED, REFUSED_LINE, SPOILED, EARLY = (new_id() for _ in range(4))
LATE_CUSTOMER: Final = 1_500


@dataclass(frozen=True)
class Round:
    """A run after some changes; `asked` is what the questions below found in the lake after it."""

    answer: Answer
    differences: dict[str, list[tuple[Any, ...]]]
    asked: dict[str, list[tuple[Any, ...]]]


QUESTIONS: Final = {
    "refused": f"SELECT \"table\", rule FROM quarantine WHERE key LIKE '%{REFUSED}%' OR key LIKE '%{REFUSED_LINE}%'",
    "mended": f"SELECT order_id FROM fact_orders WHERE order_id = '{REFUSED}'",
    "spoiled": f"SELECT customer_id FROM fact_orders WHERE order_id = '{SPOILED}'",
    "late": f"SELECT name, is_inferred FROM dim_customer WHERE customer_id = {LATE_CUSTOMER}",
}
ROUNDS: Final[Sequence[Sequence[Statement]]] = (
    (
        order(REFUSED, num_products=0),
        line(REFUSED),
        order(REFUSED_LINE),
        line(REFUSED_LINE, quantity=0),
        order(SPOILED, customer_id=11),
        line(SPOILED),
        order(EARLY, customer_id=LATE_CUSTOMER),
        line(EARLY),
    ),
    (
        ("UPDATE orders SET num_products = 1 WHERE id = %s", [REFUSED]),
        ("UPDATE order_details SET quantity = 1 WHERE order_id = %s", [REFUSED_LINE]),
        ("UPDATE orders SET customer_id = 12, num_products = -1 WHERE id = %s", [SPOILED]),
        customer(LATE_CUSTOMER),
    ),
    (
        ("DELETE FROM orders WHERE id = %s", [SPOILED]),
        ("DELETE FROM order_details WHERE order_id = %s", [SPOILED]),
    ),
)


@pytest.fixture(scope="module")
def rounds(testbed: LakeTestbed) -> Iterator[list[Round]]:
    """Three runs, each after changes of the stories and a while in the life of the shop."""
    found = []
    with simulator(testbed, Simulation(insert_p=0.5, update_p=0.3, delete_p=0.2)) as shop:  # it knows no story's order
        for statements in ROUNDS:
            testbed.change(*statements)
            for _ in range(100):
                shop.step()
            testbed.until_archived()
            answer = testbed.batch("run", "--wait")
            asked = dict(zip(QUESTIONS, testbed.ask(list(QUESTIONS.values())), strict=True))
            found.append(Round(answer, differences(testbed), asked))
    yield found
    testbed.change(("DELETE FROM customers WHERE id = %s", [LATE_CUSTOMER]))


def record(testbed: LakeTestbed) -> dict[str, str]:
    with RedisConsole(RedisSettings.read(testbed.environment).url, database=DATABASE) as redis:
        flat = redis.call(RECORD, b"")
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}


def test_a_live_shop_is_in_gold_after_each_run(testbed: LakeTestbed, rounds: list[Round]) -> None:
    assert all("is done" in each.answer.out for each in rounds)
    first, second, third = (each.differences for each in rounds)
    assert first == third == {}
    assert {row[0] for rows in second.values() for row in rows} == {SPOILED}, "which keeps its last good version"
    assert "verdict: equal" in testbed.batch("reconcile", "--table", "fact_orders").out


def test_a_row_that_breaks_a_rule_is_kept_out_until_it_is_mended(rounds: list[Round]) -> None:
    first, second, _ = rounds
    assert "1 × range(num_products)" in first.answer.out
    assert {*first.asked["refused"]} == {("orders", "range(num_products)"), ("order_details", "range(quantity)")}
    assert first.asked["mended"] == []
    assert second.asked["mended"] == [(REFUSED,)]


def test_a_row_that_is_broken_by_an_update_keeps_its_last_good_version(rounds: list[Round]) -> None:
    assert [each.asked["spoiled"] for each in rounds] == [[(11,)], [(11,)], []]


def test_a_customer_who_comes_after_the_order_is_inferred_first_and_filled_later(rounds: list[Round]) -> None:
    first, second, _ = rounds
    assert first.asked["late"] == [(None, True)]
    assert second.asked["late"] == [("Ada", False)]


def test_a_repeated_run_writes_its_manifest_only_and_says_so(testbed: LakeTestbed, rounds: list[Round]) -> None:
    testbed.until_archived()
    testbed.batch("run", "--wait")
    before = testbed.manifests()
    answer = testbed.batch("run", "--wait")
    assert "nothing new: no table was written" in answer.out
    assert "Spark was not started" in answer.out
    assert testbed.manifests()[1:] == before
    assert record(testbed)["state"] == "nothing new"


def test_a_run_that_is_killed_is_finished_by_the_next(testbed: LakeTestbed, rounds: list[Round]) -> None:
    live(testbed, Simulation(count=40))
    testbed.until_archived()
    before = testbed.manifests()
    process = testbed.process("run", "--wait")
    assert process.stdout is not None
    for text in process.stdout:
        if text.startswith("  gold/dim_customer"):  # Bronze and Silver are committed, Gold in part
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert testbed.manifests() == before, "a killed run is not visible"
    testbed.batch("run", "--wait")
    assert differences(testbed) == {}


def test_a_second_run_is_told_who_is_at_work(testbed: LakeTestbed, rounds: list[Round]) -> None:
    with (
        RedisConsole(RedisSettings.read(testbed.environment).url, database=DATABASE) as redis,
        Lease(redis, "project_db", print).hold(wait=True),
    ):
        answer = testbed.batch("run", code=1)
    assert "another run of project_db is in progress (process " in answer.err


def test_a_run_goes_on_without_redis(testbed: LakeTestbed, rounds: list[Round]) -> None:
    id_ = new_id()
    testbed.change(order(id_), line(id_))
    testbed.until_archived()
    testbed.stack.down(only=["redis"])
    try:
        answer = testbed.batch("run")
    finally:
        testbed.stack.start("redis")
    assert answer.out.count("warning") == 2
    assert len(testbed.gold("SELECT * FROM fact_orders WHERE order_id = ?", id_)) == 1


@pytest.mark.nightly  # test_lake_on_minio names it on every push
def test_an_object_storage_that_is_away_is_named_and_the_next_run_goes_on(
    testbed: LakeTestbed, rounds: list[Round]
) -> None:
    id_ = new_id()
    testbed.change(order(id_), line(id_))
    testbed.until_archived()
    testbed.stack.pause("minio")
    try:
        answer = testbed.batch("run", "--wait", code=1)
    finally:
        testbed.stack.resume("minio")
    assert "object storage at" in answer.err
    assert "Exception" not in answer.text
    testbed.batch("run", "--wait")
    assert len(testbed.gold("SELECT * FROM fact_orders WHERE order_id = ?", id_)) == 1
