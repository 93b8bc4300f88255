"""Code that the Python stream peers share: arguments, the state of an order, and the time of the first event."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

ORDER_FIELDS = ("customer_id", "store_id", "payment_method_id", "num_products")


def arguments() -> argparse.Namespace:
    """Parse the command-line arguments, which are the same for all stream peers."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "group", "orders", "details", "output", "state", "mode", "mark"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--commit-ms", type=int, default=0)  # of the peers in Java only
    return parser.parse_args()


class FirstEvent:
    """Writes the time of the first processed event to a file, as Unix time in seconds."""

    def __init__(self, path: str) -> None:
        self._path: Path | None = Path(path)

    def note(self) -> None:
        """Write the current time to the file if this is the first call."""
        if self._path is not None:
            self._path.write_text(str(time.time()))
            self._path = None


def fold(order: dict[str, Any] | None, row: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Add an order row or a product line to an order's state; return the state and whether to emit the order now."""
    state = order or {"lines": {}}
    if "num_products" in row:
        for field in ORDER_FIELDS:
            state[field] = row[field]
    else:
        state["lines"][str(row["product_id"])] = row["quantity"]
    is_due = not state.get("emitted") and len(state["lines"]) >= state.get("num_products", float("inf"))
    if is_due:
        state["emitted"] = True
    return state, is_due


def complete_order(order_id: str, state: dict[str, Any]) -> dict[str, Any]:
    """Build the output record of a complete order."""
    products = [{"product_id": int(product), "quantity": quantity} for product, quantity in state["lines"].items()]
    return {"order_id": order_id, **{field: state[field] for field in ORDER_FIELDS}, "products": products}
