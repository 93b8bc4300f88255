"""Whatever happens in the shop and however its changes arrive, what is published agrees with the database.

Goal: at most one complete order each, none missing, and the newest record of every order equals the database; each
topic keeps its order, everything else is at random: interleaving, stretches the connector repeats, re-reads by
snapshots, fail-overs to servers with lower positions, offsets that go back, restarts. Method: Hypothesis writes
histories and deliveries (`strategies.py`), a shop
of plain dicts says what should come out (`verdict.py`).
"""

from __future__ import annotations

from hypothesis import example, given

from streams.model.published import CompleteOrder
from tests.unit.model.dict_shop import DETAILS, ORDERS, TOPICS
from tests.unit.model.order_oracle import check
from tests.unit.model.strategies import Step, delivered, deliveries, histories, insert_histories, shop_after


@given(history=histories, delivery=deliveries)
@example(
    history=[("put_order", "A", 1, 1), ("put_lines", "A", {1: 1}), ("drop_order", "A"), ("put_order", "A", 1, 2)],
    delivery=[("read", ORDERS, 2), ("read", DETAILS, 1), ("rewind", ORDERS, 2)],
)
def test_what_is_published_agrees_with_the_database(history: list[Step], delivery: list[Step]) -> None:
    shop = shop_after(history)
    check(shop, delivered(shop, delivery).outputs)


@given(history=histories, delivery=deliveries)
def test_reading_everything_again_publishes_nothing_new(history: list[Step], delivery: list[Step]) -> None:
    shop = shop_after(history)
    consumer = delivered(shop, delivery)
    before, states = list(consumer.outputs), dict(consumer.states)
    for topic in TOPICS:
        consumer.rewind(topic, len(shop.topics[topic]))
    consumer.read_all(first=DETAILS)
    assert consumer.outputs == before
    assert consumer.states == states


@given(history=histories, delivery=deliveries)
def test_a_state_read_back_from_its_bytes_goes_on_as_it_would_have(history: list[Step], delivery: list[Step]) -> None:
    shop = shop_after(history)
    with_reloads = [again for each in delivery for again in (each, ("reload",))]
    straight, reloaded = delivered(shop, delivery), delivered(shop, with_reloads)
    reloaded.reload()
    assert reloaded.outputs == straight.outputs
    assert reloaded.states == straight.states


@given(history=histories, one=deliveries, other=deliveries)
def test_all_deliveries_end_with_the_same_rows(history: list[Step], one: list[Step], other: list[Step]) -> None:
    shop = shop_after(history)
    first, second = delivered(shop, one), delivered(shop, other)
    assert {key: (state.row, state.lines) for key, state in first.states.items()} == {
        key: (state.row, state.lines) for key, state in second.states.items()
    }


@given(history=insert_histories(), one=deliveries, other=deliveries)
def test_inserts_alone_give_one_identical_record_per_order(
    history: list[Step], one: list[Step], other: list[Step]
) -> None:
    shop = shop_after(history)
    first, second = delivered(shop, one).outputs, delivered(shop, other).outputs
    assert {type(output) for output in first + second} == {CompleteOrder}
    assert sorted(output.order_id for output in first) == ["A", "B", "C"]
    assert sorted(first, key=lambda output: output.order_id) == sorted(second, key=lambda output: output.order_id)
    check(shop, first)
