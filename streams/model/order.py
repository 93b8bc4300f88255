"""The state of an order and the pure folds over its changes, which decide whether it is complete.

State is kept per source row (the order's own row, one line per product), each with the position of its last change.
A change is compared with its own row only, because the two topics are not ordered relative to each other. A deleted row
keeps its position, so that a late duplicate cannot bring it back.

An order is complete when its row and at least `num_products` of its product lines are present. A fold (a pure state
update) returns `CompleteOrder` the first time this holds, and `AmendedOrder` with the next revision for every later
change that alters the order. The newest of these records equals the order in the source, however the two topics are
interleaved. `order_life.py` has the other events of an order's life: it may be denied, overdue or forgotten.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final

from msgspec import Struct

from streams.model.change import Change, SignedInt64
from streams.model.fold import OWNED_ELSEWHERE, STATE_ONLY, UNCHANGED, NoOutput, Rejected
from streams.model.position import Position
from streams.model.published import AmendedOrder, CompleteOrder, OrderStatus, PaymentMethod, Product, SourcePosition

MAX_LINES: Final = 1_000
"""Maximum number of product lines of one order, including deleted ones. Each change of an emitted order publishes all
its lines, so this also bounds the output of a bulk update of one order: n changed lines publish n² lines."""


class OrderColumns(Struct, gc=False):
    """Columns of `orders` that the order completion reads."""

    id: str
    customer_id: SignedInt64 | None
    store_id: SignedInt64 | None
    payment_method_id: SignedInt64 | None
    num_products: SignedInt64 | None
    timestamp: datetime


class OrderDetailColumns(Struct, gc=False):
    """Columns of `order_details` that the order completion reads."""

    order_id: str
    product_id: SignedInt64
    quantity: SignedInt64 | None


class OrderRow(Struct, array_like=True, gc=False):
    """The order's own row after its newest change, with that change's position."""

    customer_id: int | None
    store_id: int | None
    payment_method_id: int | None
    num_products: int
    ordered_at: datetime
    deleted: bool
    position: Position


class ProductLine(Struct, array_like=True, gc=False):
    """One product line of an order after its newest change."""

    quantity: int
    deleted: bool
    position: Position


class Emission(IntEnum):
    """Whether an order was published to `order_final`."""

    PENDING = 0
    EMITTED = 1
    ELSEWHERE = 2
    """Published by another deployment, which also publishes its amendments."""


class OrderState(Struct, array_like=True):
    """Everything known about one order.

    Attributes:
        row: the order's row, None until it is seen.
        lines: product lines, keyed by product id.
        emission: whether the order was published to `order_final`.
        revision: number of amendments published after that.
        denied: whether another deployment held the order's lock when the order was complete; while the emission is
            pending, the lock is requested repeatedly.
        reported: whether the order was reported as incomplete for too long.
        first_seen_ms: source time of the first change, in milliseconds since 1970; 0 if unknown.
        changed_ms: source time of the newest change, in milliseconds since 1970; 0 if unknown.
    """

    row: OrderRow | None = None
    lines: dict[int, ProductLine] = {}
    emission: Emission = Emission.PENDING
    revision: int = 0
    denied: bool = False
    reported: bool = False
    first_seen_ms: int = 0
    changed_ms: int = 0


Outcome = CompleteOrder | AmendedOrder | NoOutput


# -- the folds --------------------------------------------------------------------------------------------------------


def fold_order(state: OrderState, change: Change[OrderColumns]) -> Outcome:
    """Fold a change of the order's own row into `state`, and return the outcome.

    Raises:
        Rejected: `num_products` is null or not from 1 to `MAX_LINES` (and the row is not being deleted), or the row's
            time is out of range.
    """
    row, known = change.row, state.row
    if known is not None and change.position < known.position:
        return UNCHANGED
    num_products = row.num_products
    if num_products is None or not 1 <= num_products <= MAX_LINES:
        if not change.deleted:
            raise Rejected(f"num_products: must be from 1 to {MAX_LINES}, not {num_products}")
        num_products = 1 if known is None else known.num_products  # of a deleted row, which never counts
    seen = OrderRow(
        row.customer_id,
        row.store_id,
        row.payment_method_id,
        num_products,
        as_utc(row.timestamp),
        change.deleted,
        change.position,
    )
    if known is not None:
        if seen == known:
            return UNCHANGED
        known.position = change.position
        if seen == known:  # read again by a snapshot, or updated in other columns: newer, but nothing to publish
            _note_time(state, change)
            return STATE_ONLY
    _note_time(state, change)
    state.row = seen
    return _decide(state, change.key, change.position)


def fold_order_detail(state: OrderState, change: Change[OrderDetailColumns]) -> Outcome:
    """Fold a change of one product line into `state`, and return the outcome.

    Raises:
        Rejected: `quantity` is null or below 1 (and the line is not being deleted), or the order has too many lines.
    """
    row = change.row
    known = state.lines.get(row.product_id)
    if known is not None and change.position < known.position:
        return UNCHANGED
    quantity = row.quantity
    if quantity is None or quantity < 1:
        if not change.deleted:
            raise Rejected(f"quantity: must be at least 1, not {quantity}")
        quantity = 1  # of a deleted line, which never counts
    if known is None and len(state.lines) >= MAX_LINES:
        raise Rejected(f"order has more than {MAX_LINES} product lines")
    seen = ProductLine(quantity, change.deleted, change.position)
    if known is not None:
        if seen == known:
            return UNCHANGED
        known.position = change.position
        if seen == known:  # as for the order's row
            _note_time(state, change)
            return STATE_ONLY
    _note_time(state, change)
    state.lines[row.product_id] = seen
    if known is None and change.deleted:
        return STATE_ONLY
    return _decide(state, change.key, change.position)


def as_utc(moment: datetime) -> datetime:
    """Convert an instant to UTC; one without a time zone is taken as UTC, the source's zone.

    Raises:
        Rejected: the instant is before year 1 or after year 9999 in UTC.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise Rejected(f"timestamp: {moment.isoformat()} is out of range in UTC") from None


def status_of(state: OrderState) -> OrderStatus:
    """Current status of the order; an order whose row was never seen is incomplete."""
    row = state.row
    if row is None:
        return OrderStatus.INCOMPLETE
    if row.deleted:
        return OrderStatus.DELETED
    lines = state.lines
    # The first test keeps an order of n lines from costing n steps for each of them.
    if len(lines) >= row.num_products and live_lines(state) >= row.num_products:
        return OrderStatus.COMPLETE
    return OrderStatus.INCOMPLETE


def live_lines(state: OrderState) -> int:
    """Number of product lines that are not deleted."""
    return sum(not line.deleted for line in state.lines.values())


def products_of(state: OrderState) -> list[Product]:
    """The order's products that are not deleted, sorted by product id."""
    lines = state.lines
    return [Product(p, lines[p].quantity) for p in sorted(lines) if not lines[p].deleted]


def complete_order(state: OrderState, order_id: str) -> CompleteOrder:
    """Build the record for `order_final` of a complete order."""
    row = state.row
    assert row is not None
    return CompleteOrder(
        order_id,
        row.customer_id,
        row.store_id,
        _payment_method(row),
        row.num_products,
        products_of(state),
        row.ordered_at,
        SourcePosition(*_newest_position(state, row)),
    )


def amended_order(state: OrderState, order_id: str, position: Position) -> AmendedOrder:
    """Build the record for `order_amended` of an order whose row was seen; increment the order's revision."""
    row = state.row
    assert row is not None
    state.revision += 1
    return AmendedOrder(
        order_id,
        status_of(state),
        state.revision,
        row.customer_id,
        row.store_id,
        _payment_method(row),
        row.num_products,
        products_of(state),
        row.ordered_at,
        SourcePosition(*position),
    )


def _decide(state: OrderState, key: bytes, position: Position) -> Outcome:
    """Return the outcome of a change: the order is complete for the first time, amended, or still waiting."""
    if state.row is None:
        return STATE_ONLY
    if state.emission is Emission.EMITTED:
        return amended_order(state, key.decode(), position)
    if state.emission is Emission.ELSEWHERE:
        return OWNED_ELSEWHERE
    if status_of(state) is not OrderStatus.COMPLETE:
        return STATE_ONLY
    state.emission = Emission.EMITTED
    return complete_order(state, key.decode())


def _note_time(state: OrderState, change: Change[Any]) -> None:
    at_ms = change.at_ms
    if not state.first_seen_ms:
        state.first_seen_ms = at_ms
    if at_ms > state.changed_ms:
        state.changed_ms = at_ms


def _newest_position(state: OrderState, row: OrderRow) -> Position:
    """Position at which the order became complete in the source, whichever topic was read first."""
    return max(row.position, max(line.position for line in state.lines.values() if not line.deleted))


def _payment_method(row: OrderRow) -> PaymentMethod | None:
    return None if row.payment_method_id is None else PaymentMethod(row.payment_method_id)
