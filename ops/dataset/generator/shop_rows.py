"""Generate the rows of the dataset `shop` as CSV lines, without I/O; the same plan gives the same lines everywhere."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from uuid import UUID

from config.definition import ShopGenerator, StoreGenerator
from ops.dataset.generator import words
from ops.dataset.generator.plan import Plan
from ops.dataset.generator.rows import DAY_US, Baskets, TimeTexts, line_counts, random_of

CATEGORIES = ("books", "clothes", "electronics", "garden", "groceries", "household", "sports", "toys")
COUNTRIES = ("DE", "FR", "PL", "ES", "IT", "GB", "NL", "SE", "DK", "US", "JP", "BR")
COUNTRY_WEIGHTS = (22, 15, 14, 10, 9, 8, 6, 4, 4, 4, 2, 2)
STEPS = {"new": "paid", "paid": "shipped", "shipped": "delivered", "delivered": "returned"}
"""The status that follows each status; an order that is not shipped may be cancelled instead."""

_STATUSES = ("delivered", "shipped", "paid", "new", "cancelled", "returned")
_STATUS_WEIGHTS = (72, 8, 6, 4, 6, 4)
_UPDATED_SHARE = 0.3


def customer(draw: random.Random, number: int) -> tuple[str, str, str]:
    """Draw name, e-mail address and country of the customer with this id."""
    first, last = draw.choice(words.FIRST_NAMES), draw.choice(words.LAST_NAMES)
    mail = f"{words.mail_name(first)}.{words.mail_name(last)}{number}@{draw.choice(words.MAIL_DOMAINS)}"
    return f"{first} {last}", mail, draw.choices(COUNTRIES, COUNTRY_WEIGHTS)[0]


def customers(parameters: ShopGenerator, plan: Plan) -> Iterator[str]:
    """Yield the CSV line of each customer."""
    draw, times = random_of(plan, "customers"), TimeTexts(parameters.first_day, parameters.days)
    for number in range(1, plan.customers + 1):
        yield f"{number},{','.join(customer(draw, number))},{life_times(draw, times, parameters.days)}\n"


def prices(parameters: ShopGenerator | StoreGenerator, plan: Plan) -> list[Decimal]:
    """Draw the price of each product, that of product 1 first; most products are cheap."""
    draw = random_of(plan, "prices")
    return [Decimal(round(99 + 49_900 * draw.random() ** 3)) / 100 for _ in range(parameters.products)]


def products(parameters: ShopGenerator, plan: Plan) -> Iterator[str]:
    """Yield the CSV line of each product."""
    draw, times = random_of(plan, "products"), TimeTexts(parameters.first_day, parameters.days)
    for number, price in enumerate(prices(parameters, plan), start=1):
        category = draw.choice(CATEGORIES)
        yield f"{number},{category} {number},{category},{price:.2f},{life_times(draw, times, parameters.days)}\n"


def orders(parameters: ShopGenerator, plan: Plan) -> Iterator[tuple[str, list[str]]]:
    """Yield the CSV line of each order, together with the CSV lines of its items."""
    draw, times = random_of(plan, "orders"), TimeTexts(parameters.first_day, parameters.days)
    basket, price_of = Baskets(parameters.products, draw), prices(parameters, plan)
    for count in line_counts(parameters.line_weights, plan, draw):
        order_id = UUID(int=draw.getrandbits(128), version=4)
        lines = [(product, quantity, price_of[product - 1]) for product, quantity in basket.draw(count)]
        total = sum((quantity * price for _, quantity, price in lines), Decimal())
        status = draw.choices(_STATUSES, _STATUS_WEIGHTS)[0]
        head = f"{order_id},{draw.randint(1, plan.customers)},{status},{total:.2f}"
        items = [f"{order_id},{product},{quantity},{price:.2f}\n" for product, quantity, price in lines]
        yield f"{head},{life_times(draw, times, parameters.days)}\n", items


def life_times(draw: random.Random, times: TimeTexts, days: int) -> str:
    """Draw the fields `created_at,updated_at`."""
    created_us = int(draw.random() * days * DAY_US)
    updated_us = created_us
    if draw.random() < _UPDATED_SHARE:
        updated_us += int(draw.random() * (days * DAY_US - created_us))
    return f"{times.text(created_us)},{times.text(updated_us)}"
