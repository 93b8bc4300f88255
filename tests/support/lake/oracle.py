"""The expected content of Gold, computed by SQL in the source database, independently of the lake's code."""

# ruff: noqa: S608 - queries built from constants in this file
from __future__ import annotations

from typing import Any, Final

from tests.support.lake.testbed import LakeTestbed

DAY: Final = "YEAR(o.`timestamp`) * 10000 + MONTH(o.`timestamp`) * 100 + DAY(o.`timestamp`)"
TIME: Final = "DATE_FORMAT({0}, '%Y-%m-%d %H:%i:%s.%f')"
GOLD_TIME: Final = "date_format({0}, 'yyyy-MM-dd HH:mm:ss.SSSSSS')"

# Gold table → query on Gold, and query on the source database that must return the same rows.
ORACLE: Final = {
    "fact_orders": (
        "SELECT order_id, customer_id, payment_method_id, store_id, num_products, order_date_id, "
        f"{GOLD_TIME.format('ordered_at')} FROM fact_orders",
        f"SELECT o.id, o.customer_id, o.payment_method_id, o.store_id, o.num_products, {DAY}, "
        f"{TIME.format('o.`timestamp`')} FROM orders o WHERE o.num_products >= 1",
    ),
    "fact_order_products": (
        "SELECT order_id, product_id, quantity, customer_id, payment_method_id, order_date_id FROM fact_order_products",
        "SELECT d.order_id, d.product_id, d.quantity, COALESCE(o.customer_id, -1), COALESCE(o.payment_method_id, -1), "
        f"COALESCE({DAY}, -1) FROM order_details d "
        "LEFT JOIN orders o ON o.id = d.order_id AND o.num_products >= 1 WHERE d.quantity >= 1",
    ),
    "dim_customer": (
        "SELECT customer_id, name, email, phone, tier, CAST(is_inferred AS INT) FROM dim_customer "
        "WHERE customer_id > 0",
        "SELECT id, name, email, phone, tier, 0 FROM customers UNION "
        "SELECT DISTINCT customer_id, NULL, NULL, NULL, NULL, 1 FROM orders "
        "WHERE num_products >= 1 AND customer_id NOT IN (SELECT id FROM customers)",
    ),
    "dim_payment_method": (
        "SELECT payment_method_id, name, bank, CAST(is_inferred AS INT) FROM dim_payment_method "
        "WHERE payment_method_id > 0",
        "SELECT id, name, bank, 0 FROM payment_method UNION "
        "SELECT DISTINCT payment_method_id, NULL, NULL, 1 FROM orders "
        "WHERE num_products >= 1 AND payment_method_id NOT IN (SELECT id FROM payment_method)",
    ),
    "dim_product": (
        "SELECT product_id FROM dim_product WHERE product_id > 0",
        "SELECT DISTINCT product_id FROM order_details WHERE quantity >= 1",
    ),
}


def differences(testbed: LakeTestbed) -> dict[str, list[tuple[Any, ...]]]:
    """Return up to ten rows of each Gold table that are only in Gold or only in the source; omit equal tables."""
    found = {}
    answers = testbed.ask([gold for gold, _ in ORACLE.values()])
    for (table, (_, source)), rows in zip(ORACLE.items(), answers, strict=True):
        ours, theirs = sorted(rows, key=repr), sorted(testbed.rows(source), key=repr)
        assert len(ours) == len(set(ours)), f"{table} contains duplicate rows"
        if ours != theirs:
            found[table] = sorted({*ours} ^ {*theirs}, key=repr)[:10]
    return found
