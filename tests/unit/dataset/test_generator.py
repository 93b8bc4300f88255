"""Goal: the generator is repeatable byte for byte, has exactly the counts asked for, and its orders are true.

Method: write small sizes to files and read them back; no server.
"""

from __future__ import annotations

import csv
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from config.dataset import load_definition
from config.definition import OrdersGenerator
from config.engines import engine_of
from ops.dataset.generator.files import TABLES, write_files
from ops.dataset.generator.plan import Plan, make_plan
from ops.dataset.values import fault
from stack.errors import StackError

DEFINITION = load_definition("project_db")


@pytest.fixture
def parameters() -> OrdersGenerator:
    assert isinstance(DEFINITION.generator, OrdersGenerator)
    return DEFINITION.generator


def generated(parameters: OrdersGenerator, folder: Path, plan: Plan) -> dict[str, bytes]:
    return {table: path.read_bytes() for table, path in write_files(parameters, plan, folder).items()}


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(content.decode("utf-8").splitlines()))


def test_the_same_seed_gives_the_same_bytes(parameters: OrdersGenerator, tmp_path: Path) -> None:
    plan = make_plan(parameters, size=0.01, customers=200)
    assert generated(parameters, tmp_path / "one", plan) == generated(parameters, tmp_path / "two", plan)


def test_another_seed_gives_other_bytes_in_every_file(parameters: OrdersGenerator, tmp_path: Path) -> None:
    one = generated(parameters, tmp_path / "one", make_plan(parameters, size=0.01, customers=200, seed=1))
    two = generated(parameters, tmp_path / "two", make_plan(parameters, size=0.01, customers=200, seed=2))
    assert all(one[table] != two[table] for table in TABLES)


def test_another_number_of_orders_leaves_the_customers_as_they_are(parameters: OrdersGenerator, tmp_path: Path) -> None:
    one = generated(parameters, tmp_path / "one", make_plan(parameters, orders=10, customers=200))
    two = generated(parameters, tmp_path / "two", make_plan(parameters, orders=20, customers=200))
    assert one["customers"] == two["customers"]


def test_size_1_has_the_counts_of_the_dataset(parameters: OrdersGenerator, tmp_path: Path) -> None:
    plan = make_plan(parameters)
    assert (plan.orders, plan.order_details, plan.customers) == (25_000, 47_089, 1_000_000)
    files = generated(parameters, tmp_path, make_plan(parameters, customers=1_000))
    counts = {table: len(rows(content)) for table, content in files.items()}
    assert counts == {"payment_method": 12, "customers": 1_000, "orders": 25_000, "order_details": 47_089}


@pytest.mark.parametrize(("size", "orders"), [(0.01, 250), (0.00001, 1), (2, 50_000)])
def test_size_scales_orders_and_lines_but_not_customers(parameters: OrdersGenerator, size: float, orders: int) -> None:
    plan = make_plan(parameters, size=size)
    assert plan.orders == orders
    assert plan.order_details == max(round(orders * 47_089 / 25_000), 1)
    assert plan.customers == 1_000_000


def test_an_order_counts_its_distinct_lines(parameters: OrdersGenerator, tmp_path: Path) -> None:
    files = generated(parameters, tmp_path, make_plan(parameters, orders=2_000, customers=10))
    details = rows(files["order_details"])
    lines = Counter(row["order_id"] for row in details)
    assert len({(row["order_id"], row["product_id"]) for row in details}) == len(details)
    assert {row["id"]: int(row["num_products"]) for row in rows(files["orders"])} == lines


def test_references_point_to_rows_that_exist(parameters: OrdersGenerator, tmp_path: Path) -> None:
    files = generated(parameters, tmp_path, make_plan(parameters, orders=2_000, customers=7))
    customers = {row["id"] for row in rows(files["customers"])}
    methods = {row["id"] for row in rows(files["payment_method"])}
    assert customers == {str(number) for number in range(1, 8)}
    assert {row["customer_id"] for row in rows(files["orders"])} <= customers
    assert {row["payment_method_id"] for row in rows(files["orders"])} == methods


def test_every_generated_value_fits_its_column(parameters: OrdersGenerator, tmp_path: Path) -> None:
    for name, content in generated(parameters, tmp_path, make_plan(parameters, orders=500, customers=2_000)).items():
        columns = {column.name: column for column in DEFINITION.table(name).columns}
        literal = engine_of(DEFINITION).literal
        for row in rows(content):
            found = [fault(columns[key], value, literal) for key, value in row.items()]
            assert [reason for reason in found if reason] == []


def test_orders_come_in_the_rhythm_of_day_and_week(parameters: OrdersGenerator, tmp_path: Path) -> None:
    files = generated(parameters, tmp_path, make_plan(parameters, orders=25_000, customers=10))
    times = [datetime.fromisoformat(row["timestamp"]) for row in rows(files["orders"])]
    assert times == sorted(times)
    assert len({moment.date() for moment in times}) == 365
    hours, weekdays = Counter(t.hour for t in times), Counter(t.weekday() for t in times)
    assert hours[19] > 10 * hours[3]
    assert weekdays[5] > weekdays[1]


def test_mail_addresses_are_unique_and_reach_nobody(parameters: OrdersGenerator, tmp_path: Path) -> None:
    customers = rows(generated(parameters, tmp_path, make_plan(parameters, orders=1, customers=3_000))["customers"])
    addresses = [row["email"] for row in customers]
    assert len(set(addresses)) == len(addresses)
    assert all(address.isascii() and "example" in address for address in addresses)
    assert all(row["created_at"] <= row["updated_at"] for row in customers)


@pytest.mark.parametrize(("share", "lacking"), [(0.0, 0), (0.1, 20), (1.0, 200)])
def test_a_share_of_orders_can_lack_lines(
    parameters: OrdersGenerator, tmp_path: Path, share: float, lacking: int
) -> None:
    plan = make_plan(parameters, orders=200, customers=10, incomplete_share=share)
    files = generated(parameters, tmp_path, plan)
    lines = Counter(row["order_id"] for row in rows(files["order_details"]))
    assert sum(lines[row["id"]] < int(row["num_products"]) for row in rows(files["orders"])) == lacking


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "--size must be above 0"),
        ({"size": float("nan")}, "--size must be above 0"),
        ({"orders": 0}, "--orders must be from 1"),
        ({"customers": -1}, "--customers must be from 1"),
        ({"incomplete_share": 1.5}, "--incomplete-share must be from 0 to 1"),
    ],
)
def test_a_number_out_of_range_is_named(parameters: OrdersGenerator, options: dict[str, float], message: str) -> None:
    with pytest.raises(StackError, match=message):
        make_plan(parameters, **options)  # type: ignore[arg-type]
