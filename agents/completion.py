"""Publication of orders: claims their locks, adds payment methods, encodes the records and chooses their topics.

Output: `order_final` (key: order id, value: `CompleteOrder`), `order_amended` (`AmendedOrder`), `order_incomplete`
(`IncompleteOrder`), `dead_letters`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from agents.dead_letters import dead_letter
from agents.guard.claim_filter import ClaimFilter
from agents.guard.guard import Guard
from agents.order_log import OrderLog
from agents.order_timers import OrderTimers
from streams.model.order import Emission, OrderState, live_lines
from streams.model.published import AmendedOrder, CompleteOrder, IncompleteOrder, PaymentMethod
from streams.runtime.partition.batch import OutputRecord, SourceRecord, TimerCallback
from streams.runtime.partition.processor import PartitionView
from streams.runtime.partition.turn import TRACEPARENT, Turn
from streams.runtime.state.store import Entry
from streams.topics import DEAD_LETTERS, ORDER_AMENDED, ORDER_FINAL, ORDER_INCOMPLETE
from tables.order_cache import CachedOrder
from tables.order_events import OrderEvents
from tables.order_state import CODEC

Published = CompleteOrder | AmendedOrder | IncompleteOrder
Mark = Callable[[Sequence[str], str, Callable[[], None]], None]

MOST_GIVEN_UP: Final = 50
"""Number of payment method ids that may remain unknown after a wait, before orders stop waiting for any."""

_encode = msgspec.json.Encoder().encode
_topic_of: dict[type, str] = {
    CompleteOrder: ORDER_FINAL,
    AmendedOrder: ORDER_AMENDED,
    IncompleteOrder: ORDER_INCOMPLETE,
}
_count_of: dict[type, str] = {CompleteOrder: "completed", AmendedOrder: "amended", IncompleteOrder: "overdue"}


class PaymentMethodLookup(Protocol):
    """Interface through which the order completion reads payment methods."""

    def get(self, id_: int, /) -> PaymentMethod | None: ...
    async def ready(self) -> None: ...
    async def wait_for(self, ids: set[int], timeout_s: float, /) -> None: ...


class Cache(Protocol):
    """Interface through which the order completion updates the order cache."""

    def put(self, orders: dict[str, CachedOrder | None], /) -> None: ...


class OrderCompletion:
    """The processor of `streams.orders`, which publishes complete, amended and overdue orders.

    Args:
        payment_method_wait_s: maximum time in seconds that an order waits for an unknown payment method.
        order_log: writes optional log lines about single orders.
        events: remembers for people what happened to single orders.

    Attributes:
        counts: `completed`, `amended`, `overdue` (reported as incomplete for too long), `products_incomplete` (orders
            that still lacked products after a turn, a micro-batch of a partition), `payment_methods_unknown` (records
            published without the payment method's name), `duplicates_prevented` (orders denied by the lock guard).
    """

    def __init__(
        self,
        *,
        payment_methods: PaymentMethodLookup,
        payment_method_wait_s: float,
        guard: Guard,
        cache: Cache,
        timers: OrderTimers,
        order_log: OrderLog,
        app_id: str,
        events: OrderEvents | None = None,
    ) -> None:
        self._counts: Counter[str] = Counter(
            completed=0, amended=0, overdue=0, products_incomplete=0, payment_methods_unknown=0
        )
        self._payment_methods = payment_methods
        self._wait_s = payment_method_wait_s
        self._guard = guard
        self._events = events or OrderEvents()
        self._claim_filter = ClaimFilter(guard, app_id, order_log, self._events)
        self._cache = cache
        self._timers = timers
        self._log = order_log
        self._app_id = app_id
        self._given_up: set[int] = set()

    @property
    def counts(self) -> Counter[str]:
        """Totals since the worker started, keyed by the name of the count."""
        return Counter({**self._counts, **self._claim_filter.counts})

    async def ready(self) -> None:
        """Wait until the payment methods are loaded."""
        await self._payment_methods.ready()

    def opened(self, partition: PartitionView, recent: Sequence[Entry]) -> None:
        """Mark the locks of recently emitted orders again, because the previous worker may have stopped before that."""
        self._timers.begin(partition)
        newest = dict(recent)
        emitted = [
            key.decode()
            for key, state in newest.items()
            if (known := CODEC.readable(key, state)) is not None and known.emission is Emission.EMITTED
        ]
        self._mark(emitted, partition, self._guard.mark_emitted_before)

    def due_timers(self, partition: PartitionView) -> Iterable[tuple[bytes, TimerCallback]]:
        """Return the due timers of held, overdue and finished orders."""
        return self._timers.due_timers(partition)

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        """Claim the locks of complete orders, add payment methods, and return the encoded records.

        Orders with unknown payment methods wait briefly for them.
        """
        self._events.folded(turn)
        await self._claim_filter.apply(turn, partition.incarnation)
        await self._await_payment_methods(turn.outcomes)
        return [self._record(outcome, turn.traces) for outcome in turn.outcomes]

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        """Build the dead letter of a record that could not be processed."""
        return dead_letter(DEAD_LETTERS, record, reason, app_id=self._app_id)

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        """Count and log the published orders, mark complete orders as emitted, and update the order cache."""
        emitted = []
        self._events.committed(turn, [_topic_of[type(outcome)] for outcome in turn.outcomes], partition.number)
        for outcome in turn.outcomes:
            self._counts[_count_of[type(outcome)]] += 1
            if type(outcome) is CompleteOrder:
                emitted.append(outcome.order_id)
                self._log.triggered(outcome.order_id)
            method = getattr(outcome, "payment_method", None)
            if method is not None and method.name is None:
                self._counts["payment_methods_unknown"] += 1
        if emitted:
            self._mark(emitted, partition, self._guard.mark_emitted)
            if turn.fired:  # only held orders are emitted by timers
                self._timers.lock_released(partition)
        self._cache_rows(turn)

    def _mark(self, order_ids: Sequence[str], partition: PartitionView, mark: Mark) -> None:
        done = partition.pending_follow_up()
        if order_ids:
            mark(order_ids, self._claim_filter.token(partition.incarnation), done)
        else:
            done()

    def _cache_rows(self, turn: Turn) -> None:
        rows: dict[str, CachedOrder | None] = {}
        for key in turn.changed:
            state: OrderState = turn.states[key]
            row = state.row
            if row is None:
                continue
            order_id = key.decode()
            if row.deleted:
                rows[order_id] = None
                continue
            rows[order_id] = CachedOrder(row.customer_id, row.payment_method_id, row.num_products)
            self._log.cached(order_id)
            if state.emission is Emission.PENDING and (present := live_lines(state)) < row.num_products:
                self._counts["products_incomplete"] += 1
                self._log.products_incomplete(order_id, present, row.num_products)
        self._cache.put(rows)

    async def _await_payment_methods(self, outcomes: Sequence[Published]) -> None:
        get = self._payment_methods.get
        methods = [getattr(outcome, "payment_method", None) for outcome in outcomes]
        missing = {method.id for method in methods if method is not None and get(method.id) is None}
        missing -= self._given_up  # an id that was waited for in vain must not delay every later turn
        if missing and len(self._given_up) < MOST_GIVEN_UP:
            await self._payment_methods.wait_for(missing, self._wait_s)
            self._given_up |= {id_ for id_ in missing if get(id_) is None}

    def _record(self, outcome: Published, traces: Mapping[bytes, bytes]) -> OutputRecord:
        if not isinstance(outcome, IncompleteOrder) and outcome.payment_method is not None:
            outcome.payment_method = self._payment_methods.get(outcome.payment_method.id) or outcome.payment_method
        key = outcome.order_id.encode()
        headers = ((TRACEPARENT, traces[key]),) if key in traces else ()
        return OutputRecord(_topic_of[type(outcome)], key, _encode(outcome), headers)
