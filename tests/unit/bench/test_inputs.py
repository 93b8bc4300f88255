"""Goal: the input is what the connector would deliver, and the expected output is known exactly.

Method: tiny inputs, decoded by the product's own decoder.
"""

from __future__ import annotations

from bench import inputs
from bench.inputs import INPUTS, Input
from config.dataset import load_definition
from config.definition import OrdersGenerator
from streams.model.change import Change, change_decoder
from streams.model.order import OrderColumns, OrderDetailColumns

TINY = Input(name="test", orders=50)


def generator() -> OrdersGenerator:
    found = load_definition("project_db").generator
    assert isinstance(found, OrdersGenerator)
    return found


def orders(size: Input = TINY) -> list[inputs.Order]:
    return list(inputs.orders_of(inputs.plan_of(size, generator()), generator()))


def test_small_is_the_dataset_at_size_one() -> None:
    plan = inputs.plan_of(INPUTS["small"], generator())
    assert (plan.orders, plan.order_details) == (25_000, 47_089)


def test_large_has_as_many_events_as_it_says() -> None:
    plan = inputs.plan_of(INPUTS["large"], generator())
    assert (plan.orders, plan.order_details) == (300_000, 600_000)


def test_the_same_plan_gives_the_same_input() -> None:
    assert list(inputs.order_changes(orders())) == list(inputs.order_changes(orders()))


def test_a_part_of_the_orders_is_the_beginning_of_the_whole() -> None:
    whole, part = list(inputs.order_changes(orders())), list(inputs.order_changes(orders()[:10]))
    assert whole[: len(part)] == part


def test_every_change_is_one_that_the_product_understands_and_newer_than_the_one_before() -> None:
    order = change_decoder(OrderColumns, key_of=lambda row: row.id)
    detail = change_decoder(OrderDetailColumns, key_of=lambda row: row.order_id)
    positions = []
    for record in inputs.order_changes(orders()):
        decode = order if record.table == inputs.ORDERS else detail
        change = decode(record.key.encode(), record.value)
        assert isinstance(change, Change), change
        positions.append(change.position)
    assert positions == sorted(set(positions))


def test_payment_methods_are_logged_before_every_order() -> None:
    plan = inputs.plan_of(TINY, generator())
    methods = list(inputs.payment_method_changes(plan, generator()))
    assert [method.key for method in methods] == [str(number) for number in range(1, 13)]
    known = {int(method.key) for method in methods}
    assert {order.row["payment_method_id"] for order in orders()} <= known


def test_every_order_is_expected_with_all_its_lines() -> None:
    made = orders()
    assert inputs.expected_of(made) == {order.row["id"].encode(): order.lines for order in made}


def test_an_order_that_lacks_a_line_is_not_expected() -> None:
    whole = orders()[0]
    assert inputs.expected_of([whole._replace(lines=whole.lines[1:])]) == {}
