"""A consumer of the shop's change topics that may stop, forget and read again.

It stands for a partition with its transactions: `commit` makes states, outputs and offsets durable together; `restart`
goes back to what is durable, which is kept as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from streams.model.change import Change
from streams.model.fold import AFTER_RETENTION, UNCHANGED, NoOutput
from streams.model.order import OrderState, fold_order, fold_order_detail
from streams.model.published import AmendedOrder, CompleteOrder
from streams.runtime.state.codec import StateCodec
from tests.unit.model.dict_shop import DETAILS, ORDERS, TOPICS, Shop

Fold = Callable[[OrderState, Any], Any]

FOLDS: Final[Mapping[str, Fold]] = {ORDERS: fold_order, DETAILS: fold_order_detail}
CODEC: Final = StateCodec(OrderState)


class Delivery:
    """Reads the shop's topics, each in its order, and folds them.

    Args:
        folds: the folds under test, by topic.
        each_twice: fold every change once more right away, which has to alter nothing.

    Attributes:
        states: of the orders, by key.
        outputs: what has been published, in order.
        offsets: where each topic is read next.
    """

    def __init__(self, shop: Shop, folds: Mapping[str, Fold] = FOLDS, *, each_twice: bool = True) -> None:
        self.states: dict[bytes, OrderState] = {}
        self.outputs: list[CompleteOrder | AmendedOrder] = []
        self.offsets = dict.fromkeys(TOPICS, 0)
        self._shop = shop
        self._folds = folds
        self._each_twice = each_twice
        self.commit()

    def read(self, topic: str, count: int) -> None:
        """Fold the next records of a topic, as many as there are up to `count`."""
        begin = self.offsets[topic]
        for change in self._shop.topics[topic][begin : begin + count]:
            self._fold(topic, change)
            self.offsets[topic] += 1

    def read_all(self, *, first: str = ORDERS) -> None:
        """Fold everything that is left, one topic after the other."""
        for topic in sorted(TOPICS, key=lambda topic: topic != first):
            self.read(topic, len(self._shop.topics[topic]))

    def rewind(self, topic: str, count: int) -> None:
        """Go back in a topic, but not in the states: as after a reset of the group's offsets."""
        self.offsets[topic] = max(0, self.offsets[topic] - count)

    def commit(self) -> None:
        """Make everything so far durable."""
        self._durable_states = {key: CODEC.encode(state) for key, state in self.states.items()}
        self._durable_offsets = dict(self.offsets)
        self._durable_outputs = len(self.outputs)

    def restart(self) -> None:
        """Lose everything since the last commit. What was published since was never visible."""
        self.states = {key: CODEC.decode(state) for key, state in self._durable_states.items()}
        self.offsets = dict(self._durable_offsets)
        del self.outputs[self._durable_outputs :]

    def reload(self) -> None:
        """Read every state back from its bytes, as after a turn."""
        self.states = {key: CODEC.decode(CODEC.encode(state)) for key, state in self.states.items()}

    def _fold(self, topic: str, change: Change[Any]) -> None:
        fold = self._folds[topic]
        state = self.states.setdefault(change.key, OrderState())
        outcome = fold(state, change)
        if not isinstance(outcome, NoOutput):
            self.outputs.append(outcome)
        if self._each_twice:
            settled = CODEC.encode(state)
            again = fold(state, change)
            assert again is UNCHANGED or again is AFTER_RETENTION, f"the same change again answers {again}"
            assert CODEC.encode(state) == settled, "the same change again alters the state"
