"""The state of an order, and the pure functions (folds) that apply changes to it and decide whether it is complete.

The state contains the order's row from `orders` and one line per row in `order_details`, each with the position of its
newest change. A change is compared only with the state of the same row, because the two topics are not ordered relative
to each other. The position of a deleted row is kept, so that a late duplicate of an older change cannot restore it.

An order is complete when its row and at least `num_products` of its product lines are present. The first time this is
the case, the fold returns a `CompleteOrder`; for every later change that alters the order, it returns an `AmendedOrder`
with the next revision. After all changes, the newest of these records equals the order in the source database, however
the two topics are interleaved. Denied locks, overdue orders and the like are in `order_life.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final

from msgspec import Struct

from streams.model.change import Change, Id, SignedInt64
from streams.model.fold import AFTER_RETENTION, OWNED_ELSEWHERE, STATE_ONLY, UNCHANGED, NoOutput, Rejected
from streams.model.position import Position
from streams.model.published import AmendedOrder, CompleteOrder, OrderStatus, PaymentMethod, Product, SourcePosition

MAX_LINES: Final = 1_000
"""Maximum number of product lines of an order, including deleted lines. Each change of a published order publishes all
its lines again, so a bulk update of n lines publishes n² lines; this limit bounds that amount."""


class OrderColumns(Struct, gc=False):
    """Columns of the source table `orders` that the order completion reads."""

    id: Id
    customer_id: SignedInt64 | None
    store_id: SignedInt64 | None
    payment_method_id: SignedInt64 | None
    num_products: SignedInt64 | None
    timestamp: datetime


class OrderDetailColumns(Struct, gc=False):
    """Columns of the source table `order_details` that the order completion reads."""

    order_id: Id
    product_id: SignedInt64
    quantity: SignedInt64 | None


class OrderRow(Struct, array_like=True, gc=False):
    """The state of a row of `orders` after its newest change, with the position of that change."""

    customer_id: int | None
    store_id: int | None
    payment_method_id: int | None
    num_products: int
    ordered_at: datetime
    deleted: bool
    position: Position


class ProductLine(Struct, array_like=True, gc=False):
    """The state of a product line after its newest change, with the position of that change."""

    quantity: int
    deleted: bool
    position: Position


class Emission(IntEnum):
    """Whether an order was published to `order_final`, by this deployment or by another one."""

    PENDING = 0
    EMITTED = 1
    ELSEWHERE = 2
    """Published by another deployment, which also publishes the amendments of the order."""


class OrderState(Struct, array_like=True):
    """State of one order in the table `order_state`.

    A forgotten order that was published has no row, no lines and no times: only `emission` and `revision` are kept, in
    about ten bytes. Later changes are recognised by this stub and are ignored, whatever their position.

    Attributes:
        row: the order's row, None until its first change arrives.
        lines: product lines, keyed by product id.
        emission: whether the order was published to `order_final`.
        revision: number of amendments published to `order_amended`.
        denied: whether a request for the order's lock was denied, because another deployment had locked or published
            the order; while the emission is pending, the lock is requested again and again.
        reported: whether the order was published to `order_incomplete`, as incomplete for too long.
        first_seen_ms: time of the first change by the source's clock, in milliseconds since 1970; 0 if unknown.
        changed_ms: time of the newest change by the source's clock, in milliseconds since 1970; 0 if unknown.
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
    """Apply a change of the order's row to `state`, and return the outcome.

    Raises:
        Rejected: `num_products` is null or not from 1 to `MAX_LINES` (unless the change deletes the row), or the row's
            `timestamp` is out of range.
    """
    row, known = change.row, state.row
    if known is None:
        if state.emission is not Emission.PENDING:
            return AFTER_RETENTION
    elif change.position < known.position:
        return UNCHANGED
    num_products = row.num_products
    if num_products is None or not 1 <= num_products <= MAX_LINES:
        if not change.deleted:
            raise Rejected(f"num_products: must be from 1 to {MAX_LINES}, not {num_products}")
        num_products = 1 if known is None else known.num_products  # not used while the row is deleted
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
        if seen == known:  # a snapshot, or a change of other columns: newer, but nothing to publish
            _note_time(state, change)
            return STATE_ONLY
    _note_time(state, change)
    state.row = seen
    return _decide(state, change.key, change.position)


def fold_order_detail(state: OrderState, change: Change[OrderDetailColumns]) -> Outcome:
    """Apply a change of a product line to `state`, and return the outcome.

    Raises:
        Rejected: `quantity` is null or below 1 (unless the change deletes the line), or the order has too many lines.
    """
    row = change.row
    if state.row is None and state.emission is not Emission.PENDING:
        return AFTER_RETENTION
    known = state.lines.get(row.product_id)
    if known is not None and change.position < known.position:
        return UNCHANGED
    quantity = row.quantity
    if quantity is None or quantity < 1:
        if not change.deleted:
            raise Rejected(f"quantity: must be at least 1, not {quantity}")
        quantity = 1  # not used while the line is deleted
    if known is None and len(state.lines) >= MAX_LINES:
        raise Rejected(f"order has more than {MAX_LINES} product lines")
    seen = ProductLine(quantity, change.deleted, change.position)
    if known is not None:
        if seen == known:
            return UNCHANGED
        known.position = change.position
        if seen == known:  # as in `fold_order`
            _note_time(state, change)
            return STATE_ONLY
    _note_time(state, change)
    state.lines[row.product_id] = seen
    if known is None and change.deleted:
        return STATE_ONLY
    return _decide(state, change.key, change.position)


def as_utc(moment: datetime) -> datetime:
    """Convert a datetime to UTC; a datetime without a time zone is assumed to be in UTC already.

    Raises:
        Rejected: the datetime is before year 1 or after year 9999 in UTC.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise Rejected(f"timestamp: {moment.isoformat()} is out of range in UTC") from None


def status_of(state: OrderState) -> OrderStatus:
    """Return the status of an order; an order whose row in `orders` has not arrived is incomplete."""
    row = state.row
    if row is None:
        return OrderStatus.INCOMPLETE
    if row.deleted:
        return OrderStatus.DELETED
    lines = state.lines
    # The first test is cheap: the live lines of an incomplete order need not be counted after each change.
    if len(lines) >= row.num_products and live_lines(state) >= row.num_products:
        return OrderStatus.COMPLETE
    return OrderStatus.INCOMPLETE


def is_forgotten(state: OrderState) -> bool:
    """Return whether the order was published, and nothing else is known about it since its retention time ended."""
    return state.row is None and state.emission is not Emission.PENDING


def live_lines(state: OrderState) -> int:
    """Return the number of the order's product lines that are not deleted."""
    live = 0
    for line in state.lines.values():  # twice as fast as a sum over a generator
        if not line.deleted:
            live += 1
    return live


def products_of(state: OrderState) -> list[Product]:
    """Return the order's products that are not deleted, sorted by product id."""
    lines = state.lines
    return [Product(p, lines[p].quantity) for p in sorted(lines) if not lines[p].deleted]


def complete_order(state: OrderState, order_id: str) -> CompleteOrder:
    """Build the record of a complete order, with the newest position among its row and its lines, in a single pass."""
    row = state.row
    assert row is not None
    lines, products, newest = state.lines, [], row.position
    for product_id in sorted(lines):
        line = lines[product_id]
        if not line.deleted:
            products.append(Product(product_id, line.quantity))
            if line.position > newest:
                newest = line.position
    return CompleteOrder(
        order_id,
        row.customer_id,
        row.store_id,
        _payment_method(row),
        row.num_products,
        products,
        row.ordered_at,
        SourcePosition(*newest),
    )


def amended_order(state: OrderState, order_id: str, position: Position) -> AmendedOrder:
    """Increment the order's revision and build its `order_amended` record; the order's row must be present."""
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
    """Return the outcome of an applied change: a complete order, an amended order, or nothing to publish."""
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


def _payment_method(row: OrderRow) -> PaymentMethod | None:
    return None if row.payment_method_id is None else PaymentMethod(row.payment_method_id)
