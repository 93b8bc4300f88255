"""The orders that a simulation may change: those that it placed, and some that were there before."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final

from ops.dataset.shop import ShopDatabase

KNOWN_ORDERS: Final = 10_000
"""Number of orders that a simulation knows at its beginning."""

_TRIES: Final = 20


class KnownOrders:
    """The ids of orders, from which one that still exists is chosen.

    Args:
        status_query: reads the status of the order with the given id.
    """

    def __init__(self, database: ShopDatabase, draw: random.Random, status_query: str, ids: Iterable[object]) -> None:
        self._database = database
        self._draw = draw
        self._status_query = status_query
        self._ids = [str(order) for order in ids]

    def add(self, order: str) -> None:
        """Add an order."""
        self._ids.append(order)

    def forget(self, order: str) -> None:
        """Remove an order."""
        place = self._ids.index(order)
        self._ids[place] = self._ids[-1]
        self._ids.pop()

    def existing(self) -> tuple[str, str] | None:
        """Choose an order that still exists, with its status; None if none is found, as when others deleted them."""
        for _ in range(_TRIES):
            if not self._ids:
                return None
            order = self._draw.choice(self._ids)
            found = self._database.read(self._status_query, (order,))
            if found:
                return order, str(found[0][0])
            self.forget(order)
        return None
