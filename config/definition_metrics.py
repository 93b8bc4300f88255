"""Types of the part of a dataset definition that names the tables and columns of the live figures."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from config.definition_part import Identifier, Part


class OrderFigures(Part, frozen=True):
    """Columns of the orders, for the live figures.

    Attributes:
        placed_at: time column, whose minute an order counts in.
        total: column with the amount of money; None if there is no revenue.
        customer: column with the key of the customer; None if orders are not counted by country.
    """

    table: Identifier
    placed_at: Identifier
    total: Identifier | None = None
    customer: Identifier | None = None


class CountryFigures(Part, frozen=True):
    """Table of the customers, and its column with the country."""

    table: Identifier
    country: Identifier


class ItemFigures(Part, frozen=True):
    """Table of the orders' items, its column with the order's key, and the one with the number of pieces."""

    table: Identifier
    order: Identifier
    quantity: Identifier


class Alerts(Part, frozen=True):
    """Thresholds: the total, and the number of pieces, from which on an order raises an alert."""

    high_value: Annotated[float, Meta(gt=0)] | None = None
    bulk: Annotated[int, Meta(ge=1)] | None = None


class Metrics(Part, frozen=True):
    """Which tables and columns the live figures are from."""

    orders: OrderFigures | None = None
    customers: CountryFigures | None = None
    items: ItemFigures | None = None
    alerts: Alerts = Alerts()
