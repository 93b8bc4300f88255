"""What is published of an order: the values of the output topics, as their consumers read them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class OrderStatus(StrEnum):
    """What an order is at a point of its history."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    DELETED = "deleted"


class IncompleteReason(StrEnum):
    """Why an order is not in `order_final`."""

    NO_ORDER_ROW = "no_order_row"
    PRODUCTS_MISSING = "products_missing"
    HELD = "held_by_another_deployment"


class PaymentMethod(Struct, gc=False):
    """A payment method; name and bank are None while the look-up does not know the id."""

    id: int
    name: str | None = None
    bank: str | None = None


class Product(Struct, gc=False):
    """One product line of a published order."""

    product_id: int
    quantity: int


class SourcePosition(Struct, gc=False):
    """The position of the change that led to a record; `row` is -1 for a row that a snapshot read.

    Of a complete order it is the newest change of what the record holds, so that the record is the same however the
    topics are read; of an amended one it is the change that was read.
    """

    epoch: int
    file: int
    pos: int
    row: int


class CompleteOrder(Struct, gc=False):
    """Value of a record in `order_final`."""

    order_id: str
    customer_id: int | None
    store_id: int | None
    payment_method: PaymentMethod | None
    num_products: int
    products: list[Product]
    ordered_at: datetime
    source: SourcePosition


class AmendedOrder(Struct, gc=False):
    """Value of a record in `order_amended`: the whole order after a change that came after its emission."""

    order_id: str
    status: OrderStatus
    revision: int
    customer_id: int | None
    store_id: int | None
    payment_method: PaymentMethod | None
    num_products: int
    products: list[Product]
    ordered_at: datetime
    source: SourcePosition


class IncompleteOrder(Struct, gc=False):
    """Value of a record in `order_incomplete`: an order that has waited for too long, reported once.

    Attributes:
        num_products: expected number of product lines, None while the order's row is missing.
        products_present: product lines that are there.
        first_seen_at: source time of the order's first change.
        reported_at: source time, as far as the partition knew it, of the report.
    """

    order_id: str
    reason: IncompleteReason
    num_products: int | None
    products_present: int
    first_seen_at: datetime
    reported_at: datetime
