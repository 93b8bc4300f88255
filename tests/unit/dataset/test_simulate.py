"""Goal: a simulated shop keeps to its probabilities and pace, repeats with its seed, and never breaks an order.

Method: run it on dictionaries instead of a database and on a clock that passes only by waiting.
"""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import pytest

from config.dataset import load_definition
from ops.dataset.shop import Details
from ops.dataset.simulate import Simulator
from ops.dataset.simulation import Simulation, Summary
from stack.errors import StackError

from .fakes import FakeClock, FakeShop

PARAMETERS = load_definition("project_db").generator
assert PARAMETERS is not None


def run(shop: FakeShop, clock: FakeClock | None = None, **options: Any) -> Summary:
    simulation = Simulation(**{"salt": "test", **options})
    simulator = Simulator(shop, PARAMETERS, simulation, clock or FakeClock())  # type: ignore[arg-type]
    return simulator.run(threading.Event())


def incomplete(shop: FakeShop) -> list[str]:
    return [key for key, row in shop.orders.items() if row["num_products"] != len(shop.lines.get(key, {}))]


def test_operations_come_in_the_given_proportions() -> None:
    summary = run(FakeShop(), insert_p=0.6, update_p=0.3, delete_p=0.1, count=5_000)
    assert summary.operations == 5_000
    assert summary.inserted == pytest.approx(3_000, abs=150)
    assert summary.updated == pytest.approx(1_500, abs=150)
    assert summary.deleted == pytest.approx(500, abs=100)


@pytest.mark.parametrize("details", list(Details))
def test_every_order_is_complete_when_the_run_is_over(details: Details) -> None:
    shop = FakeShop()
    run(shop, count=2_000, details=details)
    assert shop.orders
    assert incomplete(shop) == []
    assert set(shop.lines) - {key for key, lines in shop.lines.items() if not lines} <= set(shop.orders)


def test_lines_in_the_same_transaction_make_one_transaction_per_operation() -> None:
    summary = run(FakeShop(), count=500, details=Details.SAME)
    assert summary.transactions == summary.operations - summary.skipped


def test_lines_that_come_later_are_never_in_the_transaction_of_their_order() -> None:
    shop = FakeShop()
    run(shop, insert_p=1, update_p=0, delete_p=0, count=300, details=Details.LATER)
    for transaction in shop.transactions:
        assert len({text.split()[2] for text, _ in transaction}) == 1


def test_mixed_details_also_arrive_before_their_order() -> None:
    shop = FakeShop()
    run(shop, insert_p=1, update_p=0, delete_p=0, count=300, details=Details.MIXED)
    first_seen: dict[str, str] = {}
    together = 0
    for transaction in shop.transactions:
        together += len(transaction) == 2
        for text, values in transaction:
            first_seen.setdefault(values[0], text.split()[2])
    assert set(first_seen.values()) == {"orders", "order_details"}
    assert together > 0


def test_the_same_seed_and_salt_repeat_the_run() -> None:
    one, two = FakeShop(), FakeShop()
    run(one, count=500, seed=7)
    run(two, count=500, seed=7)
    assert one.transactions == two.transactions


def test_the_same_seed_with_another_salt_makes_the_same_choices_with_other_ids() -> None:
    one, two = FakeShop(), FakeShop()
    summaries = [run(one, count=500, seed=7, salt="a"), run(two, count=500, seed=7, salt="b")]
    assert summaries[0] == summaries[1]
    assert not set(one.orders) & set(two.orders)


def test_the_same_seed_runs_twice_on_one_database() -> None:
    shop = FakeShop()
    run(shop, count=500, seed=7, salt="a")
    run(shop, count=500, seed=7, salt="b")
    assert incomplete(shop) == []


def test_salts_differ_by_themselves() -> None:
    assert Simulation().salt != Simulation().salt


def test_another_seed_makes_other_choices() -> None:
    one, two = FakeShop(), FakeShop()
    run(one, count=50, seed=1)
    run(two, count=50, seed=2)
    assert one.transactions != two.transactions


def test_changes_to_nothing_are_skipped_and_counted() -> None:
    summary = run(FakeShop(), insert_p=0, update_p=0.5, delete_p=0.5, count=20)
    assert (summary.skipped, summary.transactions) == (20, 0)


def test_deleting_ends_with_an_empty_shop() -> None:
    shop = FakeShop()
    run(shop, insert_p=1, update_p=0, delete_p=0, count=30)
    run(shop, insert_p=0, update_p=0, delete_p=1, count=500)
    assert shop.orders == {}


def test_an_order_that_somebody_else_deleted_is_forgotten() -> None:
    shop = FakeShop()
    run(shop, insert_p=1, update_p=0, delete_p=0, count=30)
    simulation = Simulation(insert_p=0, update_p=1, delete_p=0, count=10)
    simulator = Simulator(shop, PARAMETERS, simulation, FakeClock())  # type: ignore[arg-type]
    survivor = next(iter(shop.orders))
    for order_id in list(shop.orders):
        if order_id != survivor:
            del shop.orders[order_id]
    summary = simulator.run(threading.Event())
    assert summary.updated + summary.skipped == 10
    assert summary.updated >= 8


def test_a_shop_without_customers_uses_those_of_the_definition() -> None:
    shop = FakeShop(customers=None, payment_methods=0)
    run(shop, insert_p=1, update_p=0, delete_p=0, count=50)
    assert all(1 <= row["customer_id"] <= 1_000_000 for row in shop.orders.values())
    assert all(1 <= row["payment_method_id"] <= 12 for row in shop.orders.values())


def test_times_of_orders_are_the_clocks_without_a_zone() -> None:
    shop = FakeShop()
    run(shop, insert_p=1, update_p=0, delete_p=0, count=1)
    assert next(iter(shop.orders.values()))["timestamp"] == datetime(2025, 6, 1)


def test_a_rate_is_kept_by_waiting() -> None:
    clock = FakeClock()
    assert run(FakeShop(), clock, rate_per_s=10, count=50).seconds == pytest.approx(4.9)


def test_what_is_late_is_caught_up() -> None:
    class Stall(FakeClock):
        def wait(self, seconds: float) -> None:
            super().wait(seconds + (2.0 if len(self.waits) == 5 else 0.0))

    clock = Stall()
    assert run(FakeShop(), clock, rate_per_s=10, count=50).seconds == pytest.approx(4.9)


def test_a_pause_follows_every_operation_but_the_last() -> None:
    clock = FakeClock()
    run(FakeShop(), clock, sleep_ms=20, count=10)
    assert clock.waits == [0.02] * 9


def test_a_run_ends_after_its_seconds() -> None:
    summary = run(FakeShop(), FakeClock(), rate_per_s=10, seconds=3)
    assert summary.operations in (30, 31)


def test_a_stopped_run_still_finishes_the_orders_it_began() -> None:
    shop, stop = FakeShop(), threading.Event()

    class StopAfterAWhile(FakeClock):
        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            if len(self.waits) == 100:
                stop.set()

    simulation = Simulation(rate_per_s=10, details=Details.LATER)
    summary = Simulator(shop, PARAMETERS, simulation, StopAfterAWhile()).run(stop)  # type: ignore[arg-type]
    assert summary.operations == 100
    assert incomplete(shop) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"insert_p": 0.5}, r"--insert-p \+ --update-p \+ --delete-p must be 1, not 0.8"),
        ({"insert_p": 1.2, "update_p": -0.2, "delete_p": 0}, "--insert-p must be from 0 to 1"),
        ({"insert_p": float("nan")}, "--insert-p must be from 0 to 1"),
        ({"rate_per_s": 0}, "--rate must be above 0"),
        ({"sleep_ms": -1}, "--sleep-ms .*-1"),
        ({"rate_per_s": 1, "sleep_ms": 1}, "--rate and --sleep-ms"),
        ({"count": -1}, "--count .*-1"),
        ({"seconds": float("nan")}, "--seconds .*nan"),
    ],
)
def test_parameters_that_make_no_sense_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StackError, match=message):
        Simulation(**options)


def test_probabilities_may_be_off_by_what_floats_can_not_hold() -> None:
    assert Simulation(insert_p=0.1, update_p=0.2, delete_p=0.7).delete_p == 0.7
