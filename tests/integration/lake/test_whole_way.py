"""Goal: whatever happens in the shop is in Gold after the next run, once, and runs may be killed at any place.

Method: a live shop on real servers, its changes archived by `streams.archive`; every check compares Gold with plain SQL
in the shop's own database.
"""

from __future__ import annotations

import signal
import time
import uuid
from typing import Final

import pytest

from config.settings import DatabaseSettings, RedisSettings
from stack.dataset.database import connected
from stack.dataset.simulate import simulate
from stack.dataset.simulation import Simulation
from tables.redis_client import RedisConsole, Script
from tests.integration.lake.house import House, Statement, until
from tests.integration.lake.oracle import differences

RECORD: Final = Script("return redis.call('HGETALL', 'batch_jobs:project_db')")


def new_id() -> str:
    return str(uuid.uuid4())


def order(order_id: str, *, customer_id: int = 7, num_products: int = 1, payment_method_id: int = 1) -> Statement:
    text = "INSERT INTO orders VALUES (%s, %s, 8, %s, %s, '2025-05-06 07:08:09.123456')"
    return text, (order_id, customer_id, payment_method_id, num_products)


def line(order_id: str, product_id: int, quantity: int = 2) -> Statement:
    return "INSERT INTO order_details VALUES (%s, %s, %s)", (order_id, product_id, quantity)


def customer(id_: int) -> Statement:
    text = "INSERT INTO customers VALUES (%s, 'Ada', 'ada@example.org', NULL, 'gold', NOW(6), NOW(6))"
    return text, (id_,)


def live(house: House, operations: int, seed: int) -> None:
    """A while in the life of the shop."""
    parameters = house.definition.generator
    assert parameters is not None
    simulation = Simulation(insert_p=0.5, update_p=0.3, delete_p=0.2, count=operations, seed=seed)
    with connected(DatabaseSettings.read(house.environment), "project_db") as connection:
        simulate(connection, parameters, simulation)


def record(house: House) -> dict[str, str]:
    with RedisConsole(RedisSettings.read(house.environment).url, database=0) as redis:
        flat = redis.call(RECORD, b"")
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}


def test_a_live_shop_is_in_gold_after_each_run(house: House) -> None:
    for seed in (1, 2):
        live(house, 150, seed)
        house.until_archived()
        said = house.batch("run", "--wait").out
        assert "is done" in said
        assert differences(house) == {}
    assert record(house)["state"] == "done"
    answer = house.batch("reconcile", "--table", "fact_orders")
    assert "verdict: equal" in answer.out


def test_a_repeated_run_writes_its_manifest_only_and_says_so(house: House) -> None:
    house.until_archived()
    house.batch("run", "--wait")
    before = house.manifests()
    answer = house.batch("run", "--wait")
    assert "nothing new, no table was written" in answer.out
    assert house.manifests()[1:] == before
    assert record(house)["state"] == "nothing new"


def test_a_row_that_breaks_a_rule_is_kept_out_until_it_is_mended(house: House) -> None:
    bad, good = new_id(), new_id()
    house.change(order(bad, num_products=0), line(bad, 1), order(good), line(good, 1, quantity=0))
    house.until_archived()
    said = house.batch("run", "--wait").out
    assert "1 × range(num_products)" in said
    assert differences(house) == {}
    refused = house.gold("SELECT table, rule FROM quarantine WHERE key LIKE ? OR key LIKE ?", f"%{bad}%", f"%{good}%")
    assert {*refused} == {("orders", "range(num_products)"), ("order_details", "range(quantity)")}
    answer = house.batch("reconcile")
    assert "verdict: equal" in answer.out, "what the quarantine has is no difference"

    house.change(
        ("UPDATE orders SET num_products = 1 WHERE id = %s", [bad]),
        ("UPDATE order_details SET quantity = 1 WHERE order_id = %s", [good]),
    )
    house.until_archived()
    house.batch("run", "--wait")
    assert differences(house) == {}
    assert len(house.gold("SELECT * FROM fact_orders WHERE order_id = ?", bad)) == 1


def test_a_row_that_is_broken_by_an_update_keeps_its_last_good_version(house: House) -> None:
    id_ = new_id()
    house.change(order(id_, customer_id=11), line(id_, 1))
    house.until_archived()
    house.batch("run", "--wait")
    house.change(("UPDATE orders SET customer_id = 12, num_products = -1 WHERE id = %s", [id_]))
    house.until_archived()
    house.batch("run", "--wait")
    assert house.gold("SELECT customer_id FROM fact_orders WHERE order_id = ?", id_) == [(11,)]
    house.change(("DELETE FROM orders WHERE id = %s", [id_]), ("DELETE FROM order_details WHERE order_id = %s", [id_]))
    house.until_archived()
    house.batch("run", "--wait")
    assert house.gold("SELECT customer_id FROM fact_orders WHERE order_id = ?", id_) == []


def test_a_customer_who_comes_after_the_order_is_inferred_first_and_filled_later(house: House) -> None:
    id_, late = new_id(), 5_000_001
    house.change(order(id_, customer_id=late), line(id_, 1))
    house.until_archived()
    house.batch("run", "--wait")
    assert house.gold("SELECT name, is_inferred FROM dim_customer WHERE customer_id = ?", late) == [(None, True)]
    house.change(customer(late))
    house.until_archived()
    house.batch("run", "--wait")
    assert house.gold("SELECT name, is_inferred FROM dim_customer WHERE customer_id = ?", late) == [("Ada", False)]
    assert differences(house) == {}


@pytest.mark.parametrize("place", ["  bronze/orders", "→ silver", "  silver/customers", "  gold/dim_customer"])
def test_a_run_that_is_killed_is_finished_by_the_next(house: House, place: str) -> None:
    live(house, 40, seed=sum(map(ord, place)))
    house.until_archived()
    before = house.manifests()
    process = house.process("run", "--wait")
    assert process.stdout is not None
    for text in process.stdout:
        if text.startswith(place):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert house.manifests() == before, "a killed run is not visible"
    house.batch("run", "--wait")
    assert differences(house) == {}


def test_a_service_runs_until_sigterm_and_a_second_run_is_told_who_is_at_work(house: House) -> None:
    id_ = new_id()
    house.change(order(id_), line(id_, 1))
    house.until_archived()
    process = house.process("run", "--every", "1s")
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while "rows written" not in lines[-1] or " run " not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], "".join(lines)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0, rest
    assert "ended, as told to" in rest
    assert differences(house) == {}


def test_a_second_run_is_refused_while_one_is_at_work(house: House) -> None:
    first = house.process("run", "--wait", "--full")
    assert first.stdout is not None
    try:
        for text in first.stdout:
            if text.startswith("→"):
                break
        answer = house.batch("run", code=1)
        assert f"another run of project_db is at work (process {first.pid} on " in answer.err
    finally:
        first.communicate(timeout=240)
    assert first.returncode == 0
    assert differences(house) == {}


def test_a_run_goes_on_without_redis(house: House) -> None:
    id_ = new_id()
    house.change(order(id_), line(id_, 1))
    house.until_archived()
    house.stack.down(only=["redis"])
    try:
        answer = house.batch("run")
    finally:
        house.stack.start("redis")
    assert answer.out.count("warning") == 2
    assert len(house.gold("SELECT * FROM fact_orders WHERE order_id = ?", id_)) == 1


def test_an_object_storage_that_is_away_is_named_and_the_next_run_goes_on(house: House) -> None:
    id_ = new_id()
    house.change(order(id_), line(id_, 1))
    house.until_archived()
    house.stack.pause("minio")
    began = time.monotonic()
    try:
        answer = house.batch("run", "--wait", code=1)
    finally:
        house.stack.resume("minio")
    assert "object storage at" in answer.err
    assert "Exception" not in answer.text
    assert time.monotonic() - began < 100
    house.batch("run", "--wait")
    until(lambda: len(house.gold("SELECT * FROM fact_orders WHERE order_id = ?", id_)) == 1, "it is in Gold")
