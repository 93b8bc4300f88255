"""Parameters of the data generators of a dataset definition, one class for each kind of tables."""

from __future__ import annotations

import datetime
from typing import Annotated

from msgspec import Meta

from config.definition_part import Part

Count = Annotated[int, Meta(ge=1, le=2_000_000_000)]
Weight = Annotated[float, Meta(ge=0)]


class OrdersGenerator(Part, frozen=True, tag_field="kind", tag="orders"):
    """Parameters of the generator of shop data; the row counts are those of size 1."""

    seed: int
    orders: Count
    order_details: Count
    customers: Count
    payment_methods: Annotated[int, Meta(ge=1, le=12)]
    stores: Count
    products: Count
    first_day: datetime.date
    days: Annotated[int, Meta(ge=1, le=36_525)]
    line_weights: Annotated[tuple[Weight, ...], Meta(min_length=1)]
    hour_weights: Annotated[tuple[Weight, ...], Meta(min_length=24, max_length=24)]
    weekday_weights: Annotated[tuple[Weight, ...], Meta(min_length=7, max_length=7)]


class _ItemsGenerator(Part, frozen=True, tag_field="kind"):
    """Parameters of the generators of shops whose lines are order items; the row counts are those of size 1."""

    seed: int
    customers: Count
    products: Count
    orders: Count
    order_items: Count
    first_day: datetime.date
    days: Annotated[int, Meta(ge=1, le=36_525)]
    line_weights: Annotated[tuple[Weight, ...], Meta(min_length=1)]

    @property
    def order_details(self) -> int:
        """Number of lines of all orders."""
        return self.order_items


class ShopGenerator(_ItemsGenerator, frozen=True, tag="shop"):
    """Parameters of the generator of the dataset `shop`."""


class StoreGenerator(_ItemsGenerator, frozen=True, tag="store"):
    """Parameters of the generator of the dataset `online_store`."""

    sellers: Count


Generator = OrdersGenerator | ShopGenerator | StoreGenerator
