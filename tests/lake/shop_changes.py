"""Changes of the shop's tables, short to write."""

from __future__ import annotations

from typing import Any

import msgspec

from config.dataset import load_definition
from config.definition import Definition
from tests.lake.lake import Change


def order(id_: str, at: int, op: str = "u", **values: Any) -> Change:
    """A change of an order; `at` is its place in the source's log."""
    row = {
        "customer_id": 1,
        "store_id": 3,
        "payment_method_id": 2,
        "num_products": 1,
        "timestamp": "2025-03-01 10:00:00",
    }
    return Change("orders", at, {"id": id_, **row, **values}, op)


def line(order_id: str, product_id: int, at: int, op: str = "u", **values: Any) -> Change:
    """A change of a product of an order."""
    return Change("order_details", at, {"order_id": order_id, "product_id": product_id, "quantity": 1, **values}, op)


def customer(id_: int, at: int, op: str = "u", **values: Any) -> Change:
    """A change of a customer."""
    row = {"name": f"n{id_}", "email": f"c{id_}@mail.example", "phone": None, "tier": "gold"}
    times = {"created_at": "2025-01-01 00:00:00", "updated_at": "2025-01-01 00:00:00.000001"}
    return Change("customers", at, {"id": id_, **row, **times, **values}, op)


def payment_method(id_: int, at: int, op: str = "u", **values: Any) -> Change:
    """A change of a way to pay."""
    return Change("payment_method", at, {"id": id_, "name": f"card {id_}", "bank": "bank", **values}, op)


def shop_with(history: int) -> Definition:
    """The shop, its customers kept with another history type."""
    shop = load_definition("project_db")
    tables = (msgspec.structs.replace(t, history=history) if t.name == "customers" else t for t in shop.tables)
    return msgspec.structs.replace(shop, tables=tuple(tables))
