"""What a change adds to the live figures: counts of changes, orders and revenue per minute, countries, and alerts.

Only changes count. A row that a snapshot read is counted as such and raises nothing else, and so does a change whose
window has ended: the orders of a minute can be corrected for a limited time. What was not counted is not corrected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

CREATED: Final = "created"
UPDATED: Final = "updated"
DELETED: Final = "deleted"
READ: Final = "read"
UNKNOWN_COUNTRY: Final = "unknown"

MOST: Final = 10**15
"""Largest number of cents or pieces of one change; Redis adds no numbers that Lua cannot write in full."""

_MINUTE_S: Final = 60
_CENTS: Final = Decimal(100)


class OrderColumns(Protocol):
    """Columns of the orders, in a definition."""

    @property
    def table(self) -> str: ...
    @property
    def placed_at(self) -> str: ...
    @property
    def total(self) -> str | None: ...
    @property
    def customer(self) -> str | None: ...


class Envelope(Struct, gc=False):
    """What a decoded change does not have: the kind of operation, and the row before it."""

    op: str = ""
    before: dict[str, Any] | None = None


class _Wire(Struct, gc=False):
    op: str = ""
    before: dict[str, Any] | None = None
    payload: Envelope | None = None


_decode = msgspec.json.Decoder(_Wire).decode
_KINDS: Final = {"c": CREATED, "u": UPDATED, "d": DELETED, "r": READ}


def kind_and_before(value: bytes) -> tuple[str, dict[str, Any] | None]:
    """Return what a change does, and the row before it, from the value of a record that was decoded already."""
    wire = _decode(value)
    envelope = wire if wire.payload is None else wire.payload
    return _KINDS[envelope.op], envelope.before


class Figure(Struct, gc=False):
    """What one change adds.

    Attributes:
        kind: created, updated, deleted or read.
        at_ms: time of the change, in milliseconds since 1970.
        minute: minute of the order as text, such as 202601020304; None if no window changes.
        order: the order whose window changes; None if no window changes.
        orders: 1 if the order was placed, -1 if it is gone, 0 if it was changed.
        cents: its total in cents; 0 if it is gone. Only orders whose placing was counted are corrected.
        customer: customer of a placed order, by whose country it is counted; None if it is not counted by country.
        country: a customer and the country, None if the customer was deleted; None if the change is of no customer.
        quantity: an order and how many pieces more or less it has; None if the change is of no item.
        high: an order and its total in cents, if the total became high; None otherwise.
    """

    kind: str
    at_ms: int
    minute: str | None = None
    order: str | None = None
    orders: int = 0
    cents: int = 0
    customer: str | None = None
    country: tuple[str, str | None] | None = None
    quantity: tuple[str, int] | None = None
    high: tuple[str, int] | None = None


def cents(value: object) -> int:
    """Return an amount of money in whole cents, half a cent rounded to even; 0 for none.

    Raises:
        ValueError: the value is no finite amount, or too large to be added.
    """
    if value is None:
        return 0
    try:
        found = int((Decimal(str(value)) * _CENTS).to_integral_value())
    except (InvalidOperation, OverflowError, ValueError):
        raise ValueError(f"{str(value)[:40]!r} is no amount of money") from None
    if abs(found) > MOST:
        raise ValueError(f"{str(value)[:40]!r} is too large an amount of money")
    return found


def minute_of(time: object) -> tuple[str, int]:
    """Return the minute of a time in ISO form as text, and its begin in seconds since 1970.

    Raises:
        ValueError: the value is no such time.
    """
    if type(time) is not str:
        raise ValueError(f"{str(time)[:40]!r} is no time")
    moment = datetime.fromisoformat(time)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y%m%d%H%M"), int(moment.timestamp()) // _MINUTE_S * _MINUTE_S


def minutes_before(now_s: float, count: int) -> list[str]:
    """Return the last full minutes before a time, as text."""
    begin = int(now_s) // _MINUTE_S * _MINUTE_S
    moments = [datetime.fromtimestamp(begin - _MINUTE_S * back, UTC) for back in range(1, count + 1)]
    return [moment.strftime("%Y%m%d%H%M") for moment in moments]


FigureOf = Callable[[str, Mapping[str, Any] | None, Mapping[str, Any] | None, int, float], Figure]
"""Returns what a change adds, given its kind, the row before and after, its time, and the time now in seconds."""


def plain_figure(
    kind: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, at_ms: int, now_s: float
) -> Figure:
    """Return what a change of a table without figures of its own adds."""
    return Figure(kind, at_ms)


def order_figures(columns: OrderColumns, *, key: str, high_cents: int | None, late_s: float) -> FigureOf:
    """Return the function for changes of orders; an order above `high_cents` raises an alert."""

    def of(
        kind: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, at_ms: int, now_s: float
    ) -> Figure:
        figure = Figure(kind, at_ms)
        was, now = (_placed(columns, each) for each in (before, after))
        row = now or was
        if kind == READ or row is None:
            return figure
        minute, begin_s = minute_of(_value(row, columns.placed_at))
        if begin_s < now_s - late_s:
            return figure
        was_cents, now_cents = (_total(columns, each) for each in (was, now))
        is_known = was is not None or (kind == UPDATED and before is None)
        figure.minute, figure.order = minute, str(_value(row, key))
        figure.orders = int(now is not None) - int(is_known)
        figure.cents = now_cents
        if columns.customer is not None and figure.orders > 0:
            figure.customer = str(_value(row, columns.customer))
        if high_cents is not None and was_cents < high_cents <= now_cents:
            figure.high = (figure.order, now_cents)
        return figure

    return of


def _value(row: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column.

    Raises:
        ValueError: the row does not have the column; a change that was counted without it would be wrong in silence.
    """
    if column not in row:
        raise ValueError(f"{column}: the row has no such column; if it was renamed, change the definition")
    return row[column]


def _placed(columns: OrderColumns, row: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the row of an order that has been placed; None for one without a time, such as a draft."""
    return None if row is None or _value(row, columns.placed_at) is None else row


def _total(columns: OrderColumns, row: Mapping[str, Any] | None) -> int:
    return 0 if row is None or columns.total is None else cents(_value(row, columns.total))


def customer_figures(key: str, country: str) -> FigureOf:
    """Return the function for changes of customers, whose countries are kept, also those that a snapshot read."""

    def of(
        kind: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, at_ms: int, now_s: float
    ) -> Figure:
        row = after or before or {}
        found = None if kind == DELETED else str(_value(row, country) or UNKNOWN_COUNTRY)
        return Figure(kind, at_ms, country=(str(_value(row, key)), found))

    return of


def item_figures(order: str, quantity: str, *, late_s: float) -> FigureOf:
    """Return the function for changes of an order's items, of which many pieces raise an alert."""

    def of(
        kind: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, at_ms: int, now_s: float
    ) -> Figure:
        row = after or before or {}
        figure = Figure(kind, at_ms)
        pieces = _pieces(after, quantity) - _pieces(before, quantity)
        if kind != READ and at_ms / 1000 >= now_s - late_s and pieces:
            figure.quantity = (str(_value(row, order)), pieces)
        return figure

    return of


def _pieces(row: Mapping[str, Any] | None, quantity: str) -> int:
    value = 0 if row is None else _value(row, quantity) or 0
    if type(value) is not int or abs(value) > MOST:
        raise ValueError(f"{quantity}: {str(value)[:40]!r} is no number of pieces")
    return value
