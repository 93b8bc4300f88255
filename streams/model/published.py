"""Values of the output topics, as their consumers read them.

The descriptions and bounds are part of the topics' JSON Schemas (`streams.schemas.contracts`): they are promises to
every consumer.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

_UTC: Final = {"pattern": "Z$"}


class OrderStatus(StrEnum):
    """Status of an order at a point of its history."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    DELETED = "deleted"


class IncompleteReason(StrEnum):
    """Why an order is not in `order_final`."""

    NO_ORDER_ROW = "no_order_row"
    PRODUCTS_MISSING = "products_missing"
    HELD = "held_by_another_deployment"


class PaymentMethod(Struct, gc=False):
    """A payment method; name and bank are null while its id is not known."""

    id: Annotated[int, Meta(description="Id of the payment method in the source.")]
    name: Annotated[str | None, Meta(description="What the method is called, as in `Visa`; null: not known yet.")] = (
        None
    )
    bank: Annotated[str | None, Meta(description="Bank behind the method; null: not known yet.")] = None


class Product(Struct, gc=False):
    """One product line of a published order."""

    product_id: Annotated[int, Meta(description="Id of the product in the source; each once in an order.")]
    quantity: Annotated[int, Meta(ge=1, description="How many of the product were ordered, in pieces.")]


class SourcePosition(Struct, gc=False):
    """Position of the change that led to a record; `row` is -1 for a row that a snapshot read.

    For a complete order it is the newest change contained in the record, so that the record is the same in whatever
    order the topics are read; for an amended one it is the change that was read.
    """

    epoch: Annotated[int, Meta(ge=0, description="Counts the source's logs: one higher after a change of server.")]
    file: Annotated[int, Meta(ge=0, description="Number of the binlog file.")]
    pos: Annotated[int, Meta(ge=0, description="Place in the binlog file, in bytes.")]
    row: Annotated[int, Meta(ge=-1, description="Row within the logged event, from 0; -1: read by a snapshot.")]


OrderId = Annotated[str, Meta(description="Id of the order in the source; the record's key is the same text.")]
CustomerId = Annotated[int | None, Meta(description="Id of the customer in the source; null: the source has none.")]
StoreId = Annotated[int | None, Meta(description="Id of the store in the source; null: the source has none.")]
Method = Annotated[PaymentMethod | None, Meta(description="How the order is paid; null: the source has none.")]
NumProducts = Annotated[int, Meta(ge=1, description="How many product lines the order's row says it has.")]
OrderedAt = Annotated[
    datetime, Meta(tz=True, description="When the order was placed: UTC, to the microsecond.", extra_json_schema=_UTC)
]


class CompleteOrder(Struct, gc=False):
    """Value of a record in `order_final`: an order, the first time it is complete."""

    order_id: OrderId
    customer_id: CustomerId
    store_id: StoreId
    payment_method: Method
    num_products: NumProducts
    products: Annotated[
        list[Product],
        Meta(min_length=1, description="The product lines, by product id; at least `num_products` of them."),
    ]
    ordered_at: OrderedAt
    source: Annotated[SourcePosition, Meta(description="Position of the newest change that the record holds.")]


class AmendedOrder(Struct, gc=False):
    """Value of a record in `order_amended`: the whole order after a change that followed its emission."""

    order_id: OrderId
    status: Annotated[OrderStatus, Meta(description="What the order is after the change.")]
    revision: Annotated[
        int,
        Meta(ge=1, description="Counts the order's amendments from 1; from 1 again if the state was made anew."),
    ]
    customer_id: CustomerId
    store_id: StoreId
    payment_method: Method
    num_products: NumProducts
    products: Annotated[
        list[Product],
        Meta(description="The product lines that are there, by product id; of an incomplete order too few."),
    ]
    ordered_at: OrderedAt
    source: Annotated[SourcePosition, Meta(description="Position of the change that was read.")]


class IncompleteOrder(Struct, gc=False):
    """Value of a record in `order_incomplete`: an order that has been incomplete for too long, reported once."""

    order_id: OrderId
    reason: Annotated[IncompleteReason, Meta(description="What the order waits for.")]
    num_products: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="How many product lines are expected; null: the order's row is not there."),
    ]
    products_present: Annotated[int, Meta(ge=0, description="How many product lines are there.")]
    first_seen_at: Annotated[
        datetime,
        Meta(tz=True, description="When the source made the order's first change: UTC.", extra_json_schema=_UTC),
    ]
    reported_at: Annotated[
        datetime,
        Meta(tz=True, description="The source's time of the report, as far as known: UTC.", extra_json_schema=_UTC),
    ]
