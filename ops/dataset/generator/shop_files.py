"""Write the generated rows of the dataset `shop` as CSV files, one per table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from config.definition import ShopGenerator
from ops.dataset.generator import shop_rows
from ops.dataset.generator.files import write_lines, write_pairs
from ops.dataset.generator.plan import Plan

TABLES = ("customers", "products", "orders", "order_items")
HEADERS = {
    "customers": "id,name,email,country,created_at,updated_at\n",
    "products": "id,name,category,price,created_at,updated_at\n",
    "orders": "id,customer_id,status,total,created_at,updated_at\n",
    "order_items": "order_id,product_id,quantity,unit_price\n",
}


def write_shop_files(
    parameters: ShopGenerator, plan: Plan, folder: Path, report: Callable[[str], None] = lambda line: None
) -> dict[str, Path]:
    """Write the files of `plan` into `folder`; return their paths keyed by table, in loading order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {table: folder / f"{table}.csv" for table in TABLES}
    counts = {
        "customers": write_lines(paths["customers"], HEADERS["customers"], shop_rows.customers(parameters, plan)),
        "products": write_lines(paths["products"], HEADERS["products"], shop_rows.products(parameters, plan)),
    }
    head, items = (paths["orders"], HEADERS["orders"]), (paths["order_items"], HEADERS["order_items"])
    counts["orders"], counts["order_items"] = write_pairs(head, items, shop_rows.orders(parameters, plan))
    for table, path in paths.items():
        report(f"{path}: {counts[table]:,} rows")
    return paths
