"""Optional log lines about single orders, so that an order can be traced by its id."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class OrderLog:
    """Writes a line for each event of an order, or none if it is disabled.

    Ids come from the source and are written as Python literals, so that they cannot forge a line.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        if enabled:
            log.setLevel(logging.INFO)  # even if the worker's own level is higher

    def cached(self, order_id: str) -> None:
        """Log that the order's row was sent to the cache."""
        if self.enabled:
            log.info("[ORDER_CACHED] order %r", order_id)

    def triggered(self, order_id: str) -> None:
        """Log that the order is visible in the topic of complete orders."""
        if self.enabled:
            log.info("[ORDER_TRIGGERED] order %r", order_id)

    def duplicate_prevented(self, order_id: str, why: str) -> None:
        """Log that the guard has denied the order."""
        if self.enabled:
            log.info("[DUPLICATE_PREVENTED] order %r: %s", order_id, why)

    def products_incomplete(self, order_id: str, present: int, expected: int) -> None:
        """Log that the order's row is present, but not all of its products."""
        if self.enabled:
            log.info("[PRODUCTS_INCOMPLETE] order %r: %d of %d products", order_id, present, expected)
