"""Updates of an order's state other than source changes: denied locks, repeated claims, reports and removal.

An order has at most one timer in its partition, with a kind and a time, so that orders can be found without a scan of
all states. The kind is a `Standing`, plus `REPORTED` if the order was reported as incomplete for too long. The time is
that of the order's first change, by the source database's clock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from streams.model.change import LATEST_MS
from streams.model.fold import FORGOTTEN, STATE_ONLY, UNCHANGED, NoOutput
from streams.model.order import (
    Emission,
    OrderState,
    amended_order,
    complete_order,
    is_forgotten,
    live_lines,
    status_of,
)
from streams.model.published import AmendedOrder, CompleteOrder, IncompleteOrder, IncompleteReason, OrderStatus


class Standing(IntEnum):
    """Stage of an order: waiting for its row, for products or for its lock, or finished."""

    NO_ORDER_ROW = 1
    PRODUCTS_MISSING = 2
    HELD = 3
    FINISHED = 8


REPORTED: Final = 4
"""Flag added to the `Standing` in a timer's kind after the order was reported as incomplete for too long."""

UNREPORTED: Final = (Standing.NO_ORDER_ROW, Standing.PRODUCTS_MISSING, Standing.HELD)
INCOMPLETE_KINDS: Final = tuple(kind + reported for kind in (1, 2, 3) for reported in (0, REPORTED))
HELD_KINDS: Final = (Standing.HELD, Standing.HELD + REPORTED)

_REASONS: Final = {
    Standing.NO_ORDER_ROW: IncompleteReason.NO_ORDER_ROW,
    Standing.PRODUCTS_MISSING: IncompleteReason.PRODUCTS_MISSING,
    Standing.HELD: IncompleteReason.HELD,
}


def standing_of(state: OrderState) -> Standing:
    """Return the stage of an order. An order that was deleted before its emission counts as finished."""
    if state.emission is not Emission.PENDING:
        return Standing.FINISHED
    row = state.row
    if row is None:
        return Standing.NO_ORDER_ROW if live_lines(state) else Standing.FINISHED
    if row.deleted:
        return Standing.FINISHED
    is_held = state.denied and status_of(state) is OrderStatus.COMPLETE
    return Standing.HELD if is_held else Standing.PRODUCTS_MISSING


def timer_of(state: OrderState) -> tuple[int, int] | None:
    """Return the kind and the time (milliseconds since 1970) of an order's timer; the time never changes.

    A finished order that cannot be forgotten, or is already forgotten, has no timer.
    """
    kind = int(standing_of(state))
    if kind == Standing.FINISHED and not _is_forgettable(state):
        return None
    if state.reported and kind != Standing.FINISHED:
        kind += REPORTED
    return kind, state.first_seen_ms


def unfinished_timer_of(state: OrderState) -> tuple[int, int] | None:
    """Return the timer of an unfinished order, None for a finished order; used if finished orders are kept forever."""
    if state.emission is not Emission.PENDING:  # as for nearly all orders
        return None
    entry = timer_of(state)
    return None if entry is None or entry[0] == Standing.FINISHED else entry


def reason_of_kind(kind: int) -> IncompleteReason:
    """Return the reason why orders with a timer of this kind (one of `INCOMPLETE_KINDS`) are not emitted yet."""
    return _REASONS[Standing(kind & ~REPORTED)]


# -- the lock guard ---------------------------------------------------------------------------------------------------


def deny(state: OrderState, *, emitted_elsewhere: bool) -> None:
    """Record in an order's state that it was not emitted, because another deployment has locked it or emitted it."""
    state.emission = Emission.ELSEWHERE if emitted_elsewhere else Emission.PENDING
    state.revision = 0
    state.denied = True


def restate(state: OrderState, complete: CompleteOrder) -> AmendedOrder:
    """Return the amendment to publish for a complete order that was emitted before its state was created again.

    The values published at that time are unknown. The amendment contains the whole current order, so it corrects any
    difference.
    """
    state.revision = 0
    position = complete.source
    return amended_order(state, complete.order_id, (position.epoch, position.file, position.pos, position.row))


def ask_again(state: OrderState, order_id: str) -> CompleteOrder | NoOutput:
    """Timer callback that emits a held order as if it had just become complete, so that its lock is requested again."""
    if state.emission is not Emission.PENDING or status_of(state) is not OrderStatus.COMPLETE:
        return UNCHANGED
    state.emission = Emission.EMITTED
    return complete_order(state, order_id)


# -- time -------------------------------------------------------------------------------------------------------------


def report_overdue(state: OrderState, order_id: str, now_ms: int, after_ms: int) -> IncompleteOrder | NoOutput:
    """Timer callback that reports an order once, if it has been incomplete for longer than `after_ms`."""
    standing = standing_of(state)
    if standing is Standing.FINISHED or state.reported or not 0 < state.first_seen_ms <= now_ms - after_ms:
        return UNCHANGED
    state.reported = True
    row = state.row
    return IncompleteOrder(
        order_id,
        _REASONS[standing],
        None if row is None else row.num_products,
        live_lines(state),
        utc_of(state.first_seen_ms),
        utc_of(now_ms),
    )


def forget_finished(state: OrderState, now_ms: int, retention_ms: int) -> NoOutput:
    """Timer callback that forgets a finished order if it has not changed for the retention time.

    Of a published order, a stub is kept: without a stub, an update would look like an incomplete order, and a snapshot
    would publish the order again. An order that was deleted before its publication leaves no stub, because its id may
    be used again; its state is deleted once the database has none of its rows any more.
    """
    if standing_of(state) is not Standing.FINISHED or not _is_forgettable(state):
        return UNCHANGED
    if state.changed_ms > now_ms - retention_ms:
        return UNCHANGED
    if state.emission is Emission.PENDING:
        return FORGOTTEN
    state.row, state.lines = None, {}
    state.denied = state.reported = False
    state.first_seen_ms = state.changed_ms = 0
    return STATE_ONLY


def _is_forgettable(state: OrderState) -> bool:
    """Return whether a finished order has data to forget, and none that a snapshot of the database would bring back."""
    if state.emission is Emission.PENDING:
        return not live_lines(state)
    return not is_forgotten(state)


def utc_of(milliseconds: int) -> datetime:
    """Convert milliseconds since 1970 to a UTC datetime; cap times after the year 9999 at the end of that year."""
    return datetime.fromtimestamp(min(milliseconds, LATEST_MS) / 1000, UTC)
