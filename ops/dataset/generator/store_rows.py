"""Generate the rows of the dataset `online_store` as CSV lines, without I/O; the same plan gives the same lines."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from config.definition import StoreGenerator
from ops.dataset.generator import shop_rows, words
from ops.dataset.generator.plan import Plan
from ops.dataset.generator.rows import PHONE_SHARE, Baskets, TimeTexts, line_counts, random_of

METHODS: Final = ("card", "transfer", "wallet", "invoice", "instalments")
METHOD_WEIGHTS: Final = (48, 17, 20, 11, 4)
REASONS: Final = ("damaged", "wrong item", "not as described", "too late", "changed my mind")
STEPS: Final = shop_rows.STEPS
PAYMENT_OF: Final = {
    "new": "pending",
    "paid": "paid",
    "shipped": "paid",
    "delivered": "paid",
    "returned": "refunded",
    "cancelled": "refunded",
}
"""The state of an order's payment in each state of the order."""

KIND_OF: Final = {"returned": "return", "cancelled": "refund"}
"""What a reason is called in those states of an order that have one."""

_STATUSES: Final = ("delivered", "shipped", "paid", "new", "cancelled", "returned")
_STATUS_WEIGHTS: Final = (70, 8, 6, 5, 5, 6)
_FAILED_SHARE: Final = 0.03


class Order(NamedTuple):
    """The CSV lines of an order, and of all that belongs to it."""

    head: list[str]
    items: list[str]
    payments: list[str]
    reasons: list[str]


def phone(draw: random.Random) -> str:
    """Draw a telephone number."""
    digits = f"{draw.randrange(10**9):09}"
    return f"{draw.choice(words.DIAL_PREFIXES)} {digits[:3]} {digits[3:6]} {digits[6:]}"


def customers(parameters: StoreGenerator, plan: Plan) -> Iterator[str]:
    """Yield the CSV line of each customer."""
    draw, times = random_of(plan, "customers"), TimeTexts(parameters.first_day, parameters.days)
    for number in range(1, plan.customers + 1):
        name, mail, country = shop_rows.customer(draw, number)
        number_text = phone(draw) if draw.random() < PHONE_SHARE else ""
        moments = shop_rows.life_times(draw, times, parameters.days)
        yield f"{number},{name},{mail},{number_text},{country},{moments}\n"


def sellers(parameters: StoreGenerator, plan: Plan) -> Iterator[str]:
    """Yield the CSV line of each seller."""
    draw, times = random_of(plan, "sellers"), TimeTexts(parameters.first_day, parameters.days)
    for number in range(1, parameters.sellers + 1):
        name = f"{draw.choice(words.LAST_NAMES)} & {draw.choice(words.LAST_NAMES)} {number}"
        country = draw.choices(shop_rows.COUNTRIES, shop_rows.COUNTRY_WEIGHTS)[0]
        rating = Decimal(500 - int(300 * draw.random() ** 3)) / 100
        yield f"{number},{name},{country},{rating:.2f},{shop_rows.life_times(draw, times, parameters.days)}\n"


def seller_of(parameters: StoreGenerator, product: int) -> int:
    """Return the seller of a generated product."""
    return product % parameters.sellers + 1


def products(parameters: StoreGenerator, plan: Plan) -> Iterator[str]:
    """Yield the CSV line of each product."""
    draw, times = random_of(plan, "products"), TimeTexts(parameters.first_day, parameters.days)
    for number, price in enumerate(shop_rows.prices(parameters, plan), start=1):
        category = draw.choice(shop_rows.CATEGORIES)
        head = f"{number},{seller_of(parameters, number)},{category} {number},{category},{price:.2f}"
        yield f"{head},{shop_rows.life_times(draw, times, parameters.days)}\n"


def orders(parameters: StoreGenerator, plan: Plan) -> Iterator[Order]:
    """Yield the CSV lines of each order."""
    draw, times = random_of(plan, "orders"), TimeTexts(parameters.first_day, parameters.days)
    basket, price_of = Baskets(parameters.products, draw), shop_rows.prices(parameters, plan)
    for count in line_counts(parameters.line_weights, plan, draw):
        order, total = _id(draw), Decimal()
        status = draw.choices(_STATUSES, _STATUS_WEIGHTS)[0]
        created, updated = shop_rows.life_times(draw, times, parameters.days).split(",")
        items: list[str] = []
        reasons: list[str] = []
        for product, quantity in basket.draw(count):
            item, price = _id(draw), price_of[product - 1]
            total += quantity * price
            items.append(f"{item},{order},{product},{seller_of(parameters, product)},{quantity},{price:.2f}\n")
            if status in KIND_OF and (not reasons or draw.random() < 0.3):
                given = f"{KIND_OF[status]},{draw.choice(REASONS)},{quantity},{quantity * price:.2f}"
                reasons.append(f"{_id(draw)},{item},{given},{updated}\n")
        head = f"{order},{draw.randint(1, plan.customers)},{status},{total:.2f},{created},{updated}\n"
        yield Order([head], items, list(_payments(draw, order, status, total, f"{created},{updated}")), reasons)


def _payments(draw: random.Random, order: str, status: str, total: Decimal, moments: str) -> Iterator[str]:
    """Yield the CSV line of an order's payment, sometimes after one that failed."""
    states = ["failed"] if draw.random() < _FAILED_SHARE else []
    for state in [*states, PAYMENT_OF[status]]:
        method = draw.choices(METHODS, METHOD_WEIGHTS)[0]
        yield f"{_id(draw)},{order},{method},{state},{total:.2f},{moments}\n"


def _id(draw: random.Random) -> str:
    return str(UUID(int=draw.getrandbits(128), version=4))
