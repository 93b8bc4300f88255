"""A consumer that is stopped at any moment and starts again from its last commit publishes as if it had not been.

Goal: the guarantees of `test_order_properties.py` while the shop is still working. Method: a state machine mixes what
happens in the database, in the connector and in the consumer; the sequence of each order's outputs has to be sound
after every step, and agree with the database once everything has been read.
"""

from __future__ import annotations

from itertools import groupby

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.unit.model.delivery import Delivery
from tests.unit.model.dict_shop import TOPICS, Shop
from tests.unit.model.order_oracle import check, check_sequence
from tests.unit.model.strategies import (
    Step,
    counts,
    moves,
    play,
    put_lines,
    put_order,
    quantities,
    removals,
    repeats,
    snapshots_and_rotations,
    stretches,
    topics,
)


class RestartedConsumer(RuleBasedStateMachine):
    """A shop and its consumer."""

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop()
        self.consumer = Delivery(self.shop)

    @initialize(num_products=counts, quantities=quantities)
    def open_shop(self, num_products: int, quantities: dict[int, int]) -> None:
        self.shop.put_order("A", num_products, 1)
        self.shop.put_lines("A", quantities)

    @rule(step=put_order | put_lines)
    def put(self, step: Step) -> None:
        play(self.shop, [step])

    @rule(step=removals | moves)
    def remove_or_move(self, step: Step) -> None:
        play(self.shop, [step])

    @rule(step=repeats | snapshots_and_rotations)
    def connector(self, step: Step) -> None:
        play(self.shop, [step])

    @rule(topic=topics, count=stretches)
    def read(self, topic: str, count: int) -> None:
        self.consumer.read(topic, count)

    @rule(topic=topics, count=st.integers(1, 100))
    def reset_offsets(self, topic: str, count: int) -> None:
        self.consumer.rewind(topic, count)

    @rule()
    def commit(self) -> None:
        self.consumer.commit()

    @rule()
    def restart(self) -> None:
        self.consumer.restart()

    @rule()
    def catch_up(self) -> None:
        self.consumer.read_all()
        check(self.shop, self.consumer.outputs)

    @invariant()
    def every_order_was_published_soundly(self) -> None:
        by_order = sorted(self.consumer.outputs, key=lambda output: output.order_id)
        for order_id, outputs in groupby(by_order, key=lambda output: output.order_id):
            check_sequence(order_id, list(outputs))

    def teardown(self) -> None:
        self.consumer.restart()
        self.consumer.read_all(first=TOPICS[1])
        check(self.shop, self.consumer.outputs)


TestRestartedConsumer = RestartedConsumer.TestCase
