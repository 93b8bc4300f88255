"""Generate rows as CSV lines, without I/O; the same plan gives the same lines on every machine.

Each table has its own random sequence, so the number of orders does not affect the customers.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator, Sequence
from itertools import accumulate
from uuid import UUID

from config.definition import OrdersGenerator
from ops.dataset.generator import words
from ops.dataset.generator.plan import Plan

BLOCK = 10_000
CUSTOMER_YEARS_DAYS = 3 * 365
PHONE_SHARE = 0.94
UPDATED_SHARE = 0.4
QUANTITIES = (1, 2, 3, 4, 5, 6, 8, 10)
QUANTITY_WEIGHTS = (55, 22, 10, 5, 3, 2, 2, 1)
DAY_US = 86_400_000_000


def random_of(plan: Plan, table: str) -> random.Random:
    """Return the random sequence of one table."""
    return random.Random(f"{plan.seed}/{table}")  # noqa: S311  (data, no secrets)


class TimeTexts:
    """A formatter of times, in microseconds since the first day, that is about five times faster than `datetime`."""

    def __init__(self, first_day: datetime.date, days: int) -> None:
        self._days = [(first_day + datetime.timedelta(days=day)).isoformat() for day in range(days)]
        self._seconds = [f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(86_400)]

    def text(self, moment_us: int) -> str:
        """Format a time."""
        seconds, micros = divmod(moment_us, 1_000_000)
        day, second = divmod(seconds, 86_400)
        return f"{self._days[day]} {self._seconds[second]}.{micros:06}"


def payment_methods(parameters: OrdersGenerator, plan: Plan) -> Iterator[str]:
    """Yield the CSV line `id,name,bank` of each payment method."""
    draw = random_of(plan, "payment_method")
    for number, name in enumerate(words.PAYMENT_METHODS[: parameters.payment_methods], start=1):
        yield f"{number},{name},{draw.choice(words.BANKS)}\n"


def customers(parameters: OrdersGenerator, plan: Plan) -> Iterator[str]:
    """Yield the CSV line of each customer; all customers signed up before the first order."""
    draw = random_of(plan, "customers")
    first_day = parameters.first_day - datetime.timedelta(days=CUSTOMER_YEARS_DAYS)
    days = CUSTOMER_YEARS_DAYS + parameters.days
    text, end_us = TimeTexts(first_day, days).text, days * DAY_US
    signed_up_us, random_ = CUSTOMER_YEARS_DAYS * DAY_US, draw.random
    firsts = [(name, words.mail_name(name)) for name in words.FIRST_NAMES]
    lasts = [(name, words.mail_name(name)) for name in words.LAST_NAMES]
    for start in range(1, plan.customers + 1, BLOCK):
        count = min(BLOCK, plan.customers + 1 - start)
        block = zip(
            range(start, start + count),
            draw.choices(firsts, k=count),
            draw.choices(lasts, k=count),
            draw.choices(words.MAIL_DOMAINS, k=count),
            draw.choices(words.DIAL_PREFIXES, k=count),
            draw.choices(words.TIERS, words.TIER_WEIGHTS, k=count),
            strict=True,
        )
        for number, (first, first_mail), (last, last_mail), domain, prefix, tier in block:
            digits = f"{int(random_() * 1e9):09}"
            phone = f"{prefix} {digits[:3]} {digits[3:6]} {digits[6:]}" if random_() < PHONE_SHARE else ""
            created_us = int(random_() * signed_up_us)
            created = updated = text(created_us)
            if random_() < UPDATED_SHARE:
                updated = text(created_us + int(random_() * (end_us - created_us)))
            mail = f"{first_mail}.{last_mail}{number}@{domain}"
            yield f"{number},{first} {last},{mail},{phone},{tier},{created},{updated}\n"


def orders(parameters: OrdersGenerator, plan: Plan) -> Iterator[tuple[str, list[str]]]:
    """Yield the CSV line of each order, oldest first, together with the CSV lines of its products."""
    draw = random_of(plan, "orders")
    text = TimeTexts(parameters.first_day, parameters.days).text
    lacking = set(draw.sample(range(plan.orders), plan.incomplete_orders))
    basket = Baskets(parameters.products, draw)
    counts = line_counts(parameters.line_weights, plan, draw)
    for index, (moment_us, count) in enumerate(zip(order_times(parameters, plan, draw), counts, strict=True)):
        order_id = UUID(int=draw.getrandbits(128), version=4)
        customer = 1 + int(plan.customers * draw.random() ** 1.5)
        store = 1 + int(parameters.stores * draw.random() ** 1.3)
        payment = 1 + int(parameters.payment_methods * draw.random() ** 1.7)
        lines = [f"{order_id},{product},{quantity}\n" for product, quantity in basket.draw(count)]
        if index in lacking:
            del lines[draw.randrange(count) :]
        yield f"{order_id},{customer},{store},{payment},{count},{text(moment_us)}\n", lines


def order_times(parameters: OrdersGenerator, plan: Plan, draw: random.Random) -> list[int]:
    """Draw sorted order times, in microseconds since the first day; busy weekdays and hours get more orders."""
    first = parameters.first_day.weekday()
    weights = [parameters.weekday_weights[(first + day) % 7] for day in range(parameters.days)]
    days = draw.choices(range(parameters.days), weights, k=plan.orders) if sum(weights) > 0 else [0] * plan.orders
    hours = draw.choices(range(24), parameters.hour_weights, k=plan.orders)
    hour_us = DAY_US // 24
    return sorted(
        day * DAY_US + hour * hour_us + int(draw.random() * hour_us) for day, hour in zip(days, hours, strict=True)
    )


def line_counts(line_weights: Sequence[float], plan: Plan, draw: random.Random) -> list[int]:
    """Draw the number of lines of each order by weight, then adjust some orders to reach the plan's total."""
    most = len(line_weights)
    counts = draw.choices(range(1, most + 1), line_weights, k=plan.orders)
    missing = plan.order_details - sum(counts)
    step = 1 if missing > 0 else -1
    assert plan.orders <= plan.order_details <= plan.orders * most
    while missing:
        for index in draw.sample(range(plan.orders), min(abs(missing), plan.orders)):
            if missing and 1 <= counts[index] + step <= most:
                counts[index] += step
                missing -= step
    return counts


class Baskets:
    """A random source of the products of orders: a few products sell often, most of them rarely."""

    def __init__(self, products: int, draw: random.Random) -> None:
        self._draw = draw
        self._products = draw.sample(range(1, products + 1), products)
        self._popularity = list(accumulate(1 / (rank + 10) for rank in range(products)))

    def draw(self, count: int) -> list[tuple[int, int]]:
        """Draw `count` distinct products with quantities."""
        chosen: dict[int, None] = {}
        while len(chosen) < count:
            chosen[self._draw.choices(self._products, cum_weights=self._popularity)[0]] = None
        return list(zip(chosen, self._draw.choices(QUANTITIES, QUANTITY_WEIGHTS, k=count), strict=True))
