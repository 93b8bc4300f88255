"""Optional log lines about single orders, so that an order can be traced by its id."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class OrderLog:
    """A logger that writes a line for each event of an order, if it is enabled.

    Order ids come from outside and are logged as Python literals, so that a line break in an id cannot fake a log line.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        if enabled:
            log.setLevel(logging.INFO)  # even if the worker's own level is higher

    def cached(self, order_id: str) -> None:
        """Log that the order's row was sent to the order cache."""
        if self.enabled:
            log.info("[ORDER_CACHED] order %r", order_id)

    def triggered(self, order_id: str) -> None:
        """Log that the order was published to `order_final`."""
        if self.enabled:
            log.info("[ORDER_TRIGGERED] order %r", order_id)

    def duplicate_prevented(self, order_id: str, why: str) -> None:
        """Log that the order was not published, because the lock guard denied it for the reason `why`."""
        if self.enabled:
            log.info("[DUPLICATE_PREVENTED] order %r: %s", order_id, why)

    def products_incomplete(self, order_id: str, present: int, expected: int) -> None:
        """Log that the order's row has arrived, but not all of its product lines."""
        if self.enabled:
            log.info("[PRODUCTS_INCOMPLETE] order %r: %d of %d products", order_id, present, expected)
