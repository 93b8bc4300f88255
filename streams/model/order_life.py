"""Events of an order other than its changes: it is listed, denied, claimed again, reported or forgotten.

Each state has one timer in its partition, with a kind and a time. The kind is a `Standing`, plus `REPORTED` if the
order was reported; the time is the source time at which the order was first seen. Timers find orders without a scan of
all states.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from streams.model.change import LATEST_MS
from streams.model.fold import FORGOTTEN, UNCHANGED, NoOutput
from streams.model.order import Emission, OrderState, amended_order, complete_order, live_lines, status_of
from streams.model.published import AmendedOrder, CompleteOrder, IncompleteOrder, IncompleteReason, OrderStatus


class Standing(IntEnum):
    """Stage of an order: which step its emission is waiting for."""

    NO_ORDER_ROW = 1
    PRODUCTS_MISSING = 2
    HELD = 3
    FINISHED = 8


REPORTED: Final = 4
"""Added to the standing in the timer's kind, once the order was reported as incomplete for too long."""

WAITING: Final = (Standing.NO_ORDER_ROW, Standing.PRODUCTS_MISSING)
INCOMPLETE_KINDS: Final = tuple(kind + reported for kind in (1, 2, 3) for reported in (0, REPORTED))
HELD_KINDS: Final = (Standing.HELD, Standing.HELD + REPORTED)

_REASONS: Final = {
    Standing.NO_ORDER_ROW: IncompleteReason.NO_ORDER_ROW,
    Standing.PRODUCTS_MISSING: IncompleteReason.PRODUCTS_MISSING,
    Standing.HELD: IncompleteReason.HELD,
}


def standing_of(state: OrderState) -> Standing:
    """Stage of the order. A deleted order that was never emitted is finished: nothing more is expected."""
    if state.emission is not Emission.PENDING:
        return Standing.FINISHED
    row = state.row
    if row is None:
        return Standing.NO_ORDER_ROW if live_lines(state) else Standing.FINISHED
    if row.deleted:
        return Standing.FINISHED
    is_held = state.denied and status_of(state) is OrderStatus.COMPLETE
    return Standing.HELD if is_held else Standing.PRODUCTS_MISSING


def timer_of(state: OrderState) -> tuple[int, int]:
    """Kind and time (milliseconds since 1970) of the order's timer; the time never changes."""
    kind = int(standing_of(state))
    if state.reported and kind != Standing.FINISHED:
        kind += REPORTED
    return kind, state.first_seen_ms


def unfinished_timer_of(state: OrderState) -> tuple[int, int] | None:
    """Timer of an unfinished order, None for a finished one; for deployments that never forget orders."""
    if state.emission is not Emission.PENDING:  # nearly all are
        return None
    entry = timer_of(state)
    return None if entry[0] == Standing.FINISHED else entry


def reason_of_kind(kind: int) -> IncompleteReason:
    """Reason why the orders of a kind in `INCOMPLETE_KINDS` are not emitted."""
    return _REASONS[Standing(kind & ~REPORTED)]


# -- the lock guard ---------------------------------------------------------------------------------------------------


def deny(state: OrderState, *, emitted_elsewhere: bool) -> None:
    """Undo an emission that a fold has just decided, because another deployment holds the order or has emitted it."""
    state.emission = Emission.ELSEWHERE if emitted_elsewhere else Emission.PENDING
    state.revision = 0
    state.denied = True


def restate(state: OrderState, complete: CompleteOrder) -> AmendedOrder:
    """Return the amendment to publish for an order that was emitted before this state was created.

    The values published then are unknown, so the amendment states the whole order as it is now, which corrects any
    difference.
    """
    state.revision = 0
    position = complete.source
    return amended_order(state, complete.order_id, (position.epoch, position.file, position.pos, position.row))


def ask_again(state: OrderState, order_id: str) -> CompleteOrder | NoOutput:
    """Timer callback of a held order: emit it as if it had just become complete."""
    if state.emission is not Emission.PENDING or status_of(state) is not OrderStatus.COMPLETE:
        return UNCHANGED
    state.emission = Emission.EMITTED
    return complete_order(state, order_id)


# -- time -------------------------------------------------------------------------------------------------------------


def report_overdue(state: OrderState, order_id: str, now_ms: int, after_ms: int) -> IncompleteOrder | NoOutput:
    """Timer callback of an order that may have been incomplete for too long: report it once."""
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
    """Timer callback of a finished order: forget it if it has not changed for the retention time."""
    if standing_of(state) is Standing.FINISHED and state.changed_ms <= now_ms - retention_ms:
        return FORGOTTEN
    return UNCHANGED


def utc_of(milliseconds: int) -> datetime:
    """Convert a source time to an instant; a time after the year 9999 becomes the last millisecond of that year."""
    return datetime.fromtimestamp(min(milliseconds, LATEST_MS) / 1000, UTC)
