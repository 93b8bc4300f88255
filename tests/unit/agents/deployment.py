"""A deployment of `streams.orders` in memory: the real completion, guard logic, timers and folds, on a shop's topics.

It stands for one partition with its transactions and may die at any moment: before a commit, after it, before its marks
are written. What is durable (states, offsets, outputs) and what is in Redis (the locks, shared by deployments) stays.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterable, Sequence
from enum import Enum, auto
from typing import Any, Final, TypeVar, cast

import msgspec

from agents.completion import OrderCompletion
from agents.held_orders import LONGEST_PAUSE_S
from agents.order_log import OrderLog
from agents.order_timers import OrderTimers
from streams.model.order import OrderState, fold_order, fold_order_detail
from streams.model.published import AmendedOrder, CompleteOrder, IncompleteOrder
from streams.runtime.partition.batch import BatchOwner, OutputRecord, RecordBatch
from streams.runtime.partition.turn import Turn
from streams.runtime.state.store import Entry
from streams.runtime.testing import Consumed, MemoryPartition
from streams.topics import ORDER_AMENDED, ORDER_FINAL, ORDER_INCOMPLETE
from tables.order_cache import NoCache
from tables.order_state import CODEC
from tests.support.builders import COMMITTED_MS
from tests.support.fakes import KnownPaymentMethods
from tests.unit.agents.fake_guard import FakeGuard
from tests.unit.model.dict_shop import DETAILS, ORDERS, TOPICS, Shop

Output = CompleteOrder | AmendedOrder | IncompleteOrder

OVERDUE_MS: Final = 60_000
FOLDS: Final = {ORDERS: fold_order, DETAILS: fold_order_detail}
TYPES: Final[dict[str, type[Output]]] = {
    ORDER_FINAL: CompleteOrder,
    ORDER_AMENDED: AmendedOrder,
    ORDER_INCOMPLETE: IncompleteOrder,
}
T = TypeVar("T")


class Fate(Enum):
    """How a turn ends."""

    WELL = auto()
    DIES_BEFORE_COMMIT = auto()
    DIES_AFTER_COMMIT = auto()


class Place(MemoryPartition):
    """The partition as the processor sees it; keeps which commits are settled."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(0, deployment.durable, CODEC)
        self.incarnation = deployment.incarnation
        self._deployment = deployment

    def pending_follow_up(self) -> Callable[[], None]:
        settled = len(self._deployment.changelog)

        def done() -> None:
            self._deployment.settled = max(self._deployment.settled, settled)

        return done


class Deployment:
    """One application id with its state.

    Args:
        locks: what is in Redis.
        completion: the class under test.
        guard: the class of its guard.

    Attributes:
        outputs: everything it has published, in order; survives the loss of the state.
        durable: encoded states.
        changelog: every state ever written; `settled` of them need no follow-up any more.
    """

    def __init__(
        self,
        shop: Shop,
        locks: dict[str, str],
        app_id: str,
        *,
        completion: type[OrderCompletion] = OrderCompletion,
        guard: type[FakeGuard] = FakeGuard,
    ) -> None:
        self.app_id = app_id
        self.outputs: list[Output] = []
        self._shop = shop
        self._locks = locks
        self._completion, self._guard = completion, guard
        self._incarnations = 0
        self._begin_state()

    def _begin_state(self) -> None:
        self._incarnations += 1
        self.incarnation = f"{self._incarnations:032x}"
        self.durable: dict[bytes, bytes] = {}
        self.changelog: list[Entry] = []
        self.settled = 0
        self.offsets = dict.fromkeys(TOPICS, 0)
        self.restart()

    @property
    def token(self) -> str:
        return f"{self.app_id}:{self.incarnation}"

    # -- life ---------------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Another process goes on from what is durable; marks that waited are lost."""
        self.guard = self._guard(self._locks, marks_at_once=False)
        self.processor = self._completion(
            payment_methods=KnownPaymentMethods(),
            payment_method_wait_s=0,
            guard=self.guard,
            cache=NoCache(),
            timers=OrderTimers(incomplete_after_s=OVERDUE_MS / 1000, retention_s=0, clock=impatient()),
            order_log=OrderLog(enabled=False),
            app_id=self.app_id,
        )
        self.place = Place(self)
        self.processor.opened(self.place, self.changelog[self.settled :])

    def lose_state(self) -> None:
        """State and group are made anew, after an orderly end; what was published stays published."""
        self.restart()
        self.write_marks()
        self._begin_state()

    def write_marks(self) -> None:
        """Let Redis acknowledge the marks that wait."""
        self.guard.write_marks()

    # -- turns --------------------------------------------------------------------------------------------------------

    def read(self, topic: str, count: int, fate: Fate = Fate.WELL) -> None:
        """Process the next records of a topic in one turn, as many as there are up to `count`."""
        begin = self.offsets[topic]
        changes = self._shop.topics[topic][begin : begin + count]
        if changes:
            records = [Consumed(topic, 0, begin + i, change.key, b"", COMMITTED_MS) for i, change in enumerate(changes)]
            batch = RecordBatch(topic, 0, begin, records, cast(BatchOwner, None))
            batch.changes = changes
            turn = self._new_turn()
            turn.fold([(batch, cast(Any, FOLDS[topic]))])
            self._finish(turn, {topic: batch.next_offset}, fate)

    def fire_timers(self, fate: Fate = Fate.WELL) -> None:
        """Fire the timers that are due at the database's time."""
        self.place.now_ms = self._shop.now_ms
        turn = self._new_turn()
        turn.fire(list(self.processor.due_timers(self.place)))
        self._finish(turn, {}, fate)

    def catch_up(self) -> None:
        """Process everything that is left, ask for held orders, write marks."""
        for topic in TOPICS:
            self.read(topic, len(self._shop.topics[topic]))
        self.fire_timers()
        self.fire_timers()  # a held order that was overdue was only reported by the first one
        self.write_marks()

    def rewind(self, topic: str, count: int) -> None:
        """Go back in a topic, but not in the states."""
        self.offsets[topic] = max(0, self.offsets[topic] - count)

    def _new_turn(self) -> Turn:
        return Turn(self.durable.get, CODEC, self.processor.dead_letter)

    def _finish(self, turn: Turn, offsets: dict[str, int], fate: Fate) -> None:
        records = at_once(self.processor.publish(turn, self.place))
        if fate is not Fate.DIES_BEFORE_COMMIT:
            self._commit(records, turn.encoded_states(), offsets)
        if fate is Fate.WELL:
            self.processor.committed(turn, self.place)
        else:
            self.restart()

    def _commit(self, records: Iterable[OutputRecord], states: Sequence[Entry], offsets: dict[str, int]) -> None:
        self.outputs += [msgspec.json.decode(record.value or b"", type=TYPES[record.topic]) for record in records]
        self.offsets |= offsets
        self.changelog += states
        for key, state in states:
            assert state is not None, "nothing is forgotten here"
            self.durable[key] = state

    # -- for assertions -----------------------------------------------------------------------------------------------

    def state(self, order_id: str) -> OrderState:
        stored = self.durable.get(order_id.encode())
        return OrderState() if stored is None else CODEC.decode(stored)

    def published(self, order_id: str) -> list[CompleteOrder | AmendedOrder]:
        """What it has published of an order, overdue reports aside."""
        return [o for o in self.outputs if o.order_id == order_id and not isinstance(o, IncompleteOrder)]


def impatient() -> Callable[[], float]:
    """A clock that runs so fast that every pause before a held order is asked for again is over."""
    return itertools.count(LONGEST_PAUSE_S, 2 * LONGEST_PAUSE_S).__next__


def at_once(step: Coroutine[Any, Any, T]) -> T:
    """The answer of a coroutine that has nothing to wait for."""
    try:
        step.send(None)
    except StopIteration as answer:
        return cast(T, answer.value)
    step.close()
    raise AssertionError("it waits for something")
