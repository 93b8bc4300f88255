"""Code that the lake peers share: arguments, the JSON job file, and the names and keys of tables."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

TABLES = ("customers", "orders", "order_details", "payment_method")
KEYS = {
    "customers": ["id"],
    "orders": ["id"],
    "order_details": ["order_id", "product_id"],
    "payment_method": ["id"],
}
DIMENSIONS = ("dim_customer", "dim_payment_method", "dim_product", "dim_date")
FACTS = ("fact_orders", "fact_order_products")
# Dimensions with inferred members, which stand for keys that occur only in orders.
INFERRED = {"dim_customer": "customer_id", "dim_payment_method": "payment_method_id"}
KEY_OF = {"dim_product": "product_id", "dim_date": "date_id", **INFERRED}
UNKNOWN = -1
PARTITION = "order_date_id"


def arguments() -> argparse.Namespace:
    """Parse the command-line arguments: the path of the job file, and the layers to build."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--layers", default="bronze,silver,gold")
    return parser.parse_args()


def loaded(path: Path) -> dict[str, Any]:
    """Load the job file: logins for database and storage, the folder within each bucket, and Spark settings."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found
