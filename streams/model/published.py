"""Structs of the records in the output topics.

The descriptions and bounds of the fields become part of the topics' JSON Schemas (`streams.schemas.contracts`), which
consumers rely on.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

_UTC: Final = {"pattern": "Z$"}


class OrderStatus(StrEnum):
    """Whether an order is complete, incomplete or deleted."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    DELETED = "deleted"


class IncompleteReason(StrEnum):
    """Reason why an order has not been published to `order_final` yet."""

    NO_ORDER_ROW = "no_order_row"
    PRODUCTS_MISSING = "products_missing"
    HELD = "held_by_another_deployment"


class PaymentMethod(Struct, gc=False):
    """A payment method; its name and bank are null if they are not known yet."""

    id: Annotated[int, Meta(description="Id of the payment method in the source database.")]
    name: Annotated[str | None, Meta(description="Name, such as `Visa`; null if not known yet.")] = None
    bank: Annotated[str | None, Meta(description="Name of the bank; null if not known yet.")] = None


class Product(Struct, gc=False):
    """One product line of a published order."""

    product_id: Annotated[int, Meta(description="Id of the product in the source; unique within an order.")]
    quantity: Annotated[int, Meta(ge=1, description="Ordered quantity of the product.")]


class SourcePosition(Struct, gc=False):
    """Position of a change in the source database's log.

    In a complete order, it is the newest change that the record contains, whichever topic was read first. In an amended
    order, it is the change that caused the amendment.
    """

    epoch: Annotated[int, Meta(ge=0, description="Number of the log; increases when the database starts a new log.")]
    file: Annotated[int, Meta(ge=0, description="Number of the binlog file.")]
    pos: Annotated[int, Meta(ge=0, description="Byte position in the binlog file.")]
    row: Annotated[int, Meta(ge=-1, description="Index of the row in the logged event; -1 if a snapshot read the row.")]


OrderId = Annotated[str, Meta(description="Id of the order in the source database; also the record's key.")]
CustomerId = Annotated[int | None, Meta(description="Id of the customer in the source database; null if missing.")]
StoreId = Annotated[int | None, Meta(description="Id of the store in the source database; null if missing.")]
Method = Annotated[PaymentMethod | None, Meta(description="Payment method of the order; null if the order has none.")]
NumProducts = Annotated[int, Meta(ge=1, description="Expected number of product lines, from the order's row.")]
OrderedAt = Annotated[
    datetime, Meta(tz=True, description="Time of the order in UTC, with microseconds.", extra_json_schema=_UTC)
]


class CompleteOrder(Struct, gc=False):
    """Value of a record in `order_final`: an order at the time when it first became complete."""

    order_id: OrderId
    customer_id: CustomerId
    store_id: StoreId
    payment_method: Method
    num_products: NumProducts
    products: Annotated[
        list[Product],
        Meta(min_length=1, description="The product lines, sorted by product id; at least `num_products` of them."),
    ]
    ordered_at: OrderedAt
    source: Annotated[SourcePosition, Meta(description="Position of the newest change that the record contains.")]


class AmendedOrder(Struct, gc=False):
    """Value of a record in `order_amended`: the whole order after a change that followed its publication."""

    order_id: OrderId
    status: Annotated[OrderStatus, Meta(description="Status of the order after the change.")]
    revision: Annotated[
        int,
        Meta(ge=1, description="Number of this amendment of the order; restarts at 1 if the worker's state was lost."),
    ]
    customer_id: CustomerId
    store_id: StoreId
    payment_method: Method
    num_products: NumProducts
    products: Annotated[
        list[Product],
        Meta(description="The product lines, sorted by product id; fewer than `num_products` if incomplete."),
    ]
    ordered_at: OrderedAt
    source: Annotated[SourcePosition, Meta(description="Position of the change that led to the amendment.")]


class IncompleteOrder(Struct, gc=False):
    """Value of a record in `order_incomplete`: an order that has been incomplete for too long.

    Each order is reported at most once.
    """

    order_id: OrderId
    reason: Annotated[IncompleteReason, Meta(description="Reason why the order has not been published yet.")]
    num_products: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Expected number of product lines; null if the order's row is missing."),
    ]
    products_present: Annotated[
        int, Meta(ge=0, description="Number of product lines that have arrived and are not deleted.")
    ]
    first_seen_at: Annotated[
        datetime,
        Meta(
            tz=True,
            description="Time (UTC) of the order's first change, by the source database's clock.",
            extra_json_schema=_UTC,
        ),
    ]
    reported_at: Annotated[
        datetime,
        Meta(
            tz=True,
            description="Estimated time (UTC) of the report, by the source database's clock.",
            extra_json_schema=_UTC,
        ),
    ]
