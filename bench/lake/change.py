"""Build the changes to the shop between two runs: 1 % of the customers at random, and mostly recent orders.

Nine of ten changed orders are from the last three days: half of them are inserted, with their product lines, and the
other half are updated. Every tenth changed order is an older one, which is updated. An update changes the order's store
and the quantity in each of its product lines.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

SHARE: Final = 0.01
RECENT_SHARE: Final = 0.9
RECENT_DAYS: Final = 3
_AT_A_TIME: Final = 1_000
_DAY_S: Final = 86_400

Statement = tuple[str, Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The state of the shop before a change.

    Attributes:
        customers: number of customers.
        recent, older: sorted ids of the orders from the last `RECENT_DAYS` days, and of all older orders.
        last_day: date of the newest order, such as `2025-12-31`.
    """

    customers: int
    recent: Sequence[str]
    older: Sequence[str]
    last_day: str

    @property
    def orders(self) -> int:
        """Number of orders, recent and older."""
        return len(self.recent) + len(self.older)


def statements(shop: Shop, *, seed: int, orders: int) -> Iterator[Statement]:
    """Yield the SQL statements of a change; each statement changes every row that it matches."""
    draw = random.Random(seed)  # noqa: S311 - a repeatable measurement
    customers = sorted(draw.sample(range(1, shop.customers + 1), round(shop.customers * SHARE)))
    text = (
        "UPDATE customers SET phone = CONCAT('+4477', LPAD((id * 7 + {0}) % 10000000, 7, '0')), "
        "updated_at = updated_at + INTERVAL 1 HOUR WHERE id IN ({1})"
    )
    yield from _in_parts(text.replace("{0}", str(seed)), customers)
    recent = round(orders * RECENT_SHARE)
    altered = draw.sample(shop.recent, min(recent // 2, len(shop.recent)))
    altered += draw.sample(shop.older, min(orders - recent, len(shop.older)))
    yield from _in_parts("UPDATE orders SET store_id = store_id % 50 + 1 WHERE id IN ({1})", sorted(altered))
    yield from _in_parts("UPDATE order_details SET quantity = quantity + 1 WHERE order_id IN ({1})", sorted(altered))
    for _ in range(recent - recent // 2):
        yield from _new_order(shop, draw)


def _new_order(shop: Shop, draw: random.Random) -> Iterator[Statement]:
    order_id = str(uuid.UUID(int=draw.getrandbits(128), version=4))
    products = draw.sample(range(1, 2_001), draw.randint(1, 3))
    before_s = draw.randrange(RECENT_DAYS * _DAY_S)
    yield (
        "INSERT INTO orders VALUES (%s, %s, %s, %s, %s, "
        "DATE(%s) + INTERVAL 1 DAY - INTERVAL 1 MICROSECOND - INTERVAL %s SECOND)",
        [order_id, draw.randint(1, shop.customers), draw.randint(1, 50), draw.randint(1, 12), len(products),
         shop.last_day, before_s],
    )  # fmt: skip
    for product in products:
        yield "INSERT INTO order_details VALUES (%s, %s, %s)", [order_id, product, draw.randint(1, 5)]


def _in_parts(text: str, ids: Sequence[Any]) -> Iterator[Statement]:
    for first in range(0, len(ids), _AT_A_TIME):
        part = ids[first : first + _AT_A_TIME]
        yield text.replace("{1}", ", ".join(["%s"] * len(part))), part
