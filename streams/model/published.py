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
    name: Annotated[str | None, Meta(description="Name of the method, such as `Visa`; null if not known yet.")] = None
    bank: Annotated[str | None, Meta(description="Bank behind the method; null if not known yet.")] = None


class Product(Struct, gc=False):
    """One product line of a published order."""

    product_id: Annotated[int, Meta(description="Id of the product in the source; unique within an order.")]
    quantity: Annotated[int, Meta(ge=1, description="Number of pieces ordered of the product.")]


class SourcePosition(Struct, gc=False):
    """Position of the change that led to a record; `row` is -1 for a row that a snapshot read.

    For a complete order it is the newest change contained in the record, so that the record does not depend on the
    order in which the topics are read. For an amended order it is the change that led to the amendment.
    """

    epoch: Annotated[int, Meta(ge=0, description="Number of the source's log; one higher after a change of server.")]
    file: Annotated[int, Meta(ge=0, description="Number of the binlog file.")]
    pos: Annotated[int, Meta(ge=0, description="Position in the binlog file, in bytes.")]
    row: Annotated[int, Meta(ge=-1, description="Row within the logged event, from 0; -1 if read by a snapshot.")]


OrderId = Annotated[str, Meta(description="Id of the order in the source; the record's key is the same text.")]
CustomerId = Annotated[int | None, Meta(description="Id of the customer in the source; null if the source has none.")]
StoreId = Annotated[int | None, Meta(description="Id of the store in the source; null if the source has none.")]
Method = Annotated[PaymentMethod | None, Meta(description="Payment method of the order; null if the source has none.")]
NumProducts = Annotated[int, Meta(ge=1, description="Number of product lines according to the order's row.")]
OrderedAt = Annotated[
    datetime, Meta(tz=True, description="Time of the order: UTC, to the microsecond.", extra_json_schema=_UTC)
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
        Meta(min_length=1, description="The product lines, sorted by product id; at least `num_products` of them."),
    ]
    ordered_at: OrderedAt
    source: Annotated[SourcePosition, Meta(description="Position of the newest change that the record contains.")]


class AmendedOrder(Struct, gc=False):
    """Value of a record in `order_amended`: the whole order after a change that followed its emission."""

    order_id: OrderId
    status: Annotated[OrderStatus, Meta(description="Status of the order after the change.")]
    revision: Annotated[
        int,
        Meta(ge=1, description="Number of the order's amendment; begins again at 1 if the state was recreated."),
    ]
    customer_id: CustomerId
    store_id: StoreId
    payment_method: Method
    num_products: NumProducts
    products: Annotated[
        list[Product],
        Meta(description="The product lines present, sorted by product id; too few if the order is incomplete."),
    ]
    ordered_at: OrderedAt
    source: Annotated[SourcePosition, Meta(description="Position of the change that led to the amendment.")]


class IncompleteOrder(Struct, gc=False):
    """Value of a record in `order_incomplete`: an order that has been incomplete for too long, reported once."""

    order_id: OrderId
    reason: Annotated[IncompleteReason, Meta(description="Reason why the order is not published yet.")]
    num_products: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Number of product lines expected; null if the order's row is missing."),
    ]
    products_present: Annotated[int, Meta(ge=0, description="Number of product lines present.")]
    first_seen_at: Annotated[
        datetime,
        Meta(tz=True, description="Source time of the order's first change: UTC.", extra_json_schema=_UTC),
    ]
    reported_at: Annotated[
        datetime,
        Meta(tz=True, description="Estimated source time of the report: UTC.", extra_json_schema=_UTC),
    ]
