"""Write the generated rows of the dataset `online_store` as CSV files, one per table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from config.definition import StoreGenerator
from ops.dataset.generator import store_rows
from ops.dataset.generator.files import write_lines
from ops.dataset.generator.plan import Plan

HEADERS = {
    "Customers": "CustomerId,Name,Email,PhoneNumber,Country,CreatedAt,UpdatedAt\n",
    "Sellers": "SellerId,Name,Country,Rating,CreatedAt,UpdatedAt\n",
    "Products": "ProductId,SellerId,Name,Category,Price,CreatedAt,UpdatedAt\n",
    "Orders": "OrderId,CustomerId,Status,TotalAmount,OrderDate,UpdatedAt\n",
    "OrderItems": "OrderItemId,OrderId,ProductId,SellerId,Quantity,UnitPrice\n",
    "Payments": "PaymentId,OrderId,Method,Status,Amount,CreatedAt,UpdatedAt\n",
    "Reasons": "ReasonId,OrderItemId,Kind,Reason,Quantity,Amount,CreatedAt\n",
}
_OF_ORDERS = ("Orders", "OrderItems", "Payments", "Reasons")


def write_store_files(
    parameters: StoreGenerator, plan: Plan, folder: Path, report: Callable[[str], None] = lambda line: None
) -> dict[str, Path]:
    """Write the files of `plan` into `folder`; return their paths keyed by table, in loading order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {table: folder / f"{table}.csv" for table in HEADERS}
    alone = {
        "Customers": store_rows.customers(parameters, plan),
        "Sellers": store_rows.sellers(parameters, plan),
        "Products": store_rows.products(parameters, plan),
    }
    counts = {table: write_lines(paths[table], HEADERS[table], lines) for table, lines in alone.items()}
    counts |= _write_orders(parameters, plan, paths)
    for table, path in paths.items():
        report(f"{path}: {counts[table]:,} rows")
    return paths


def _write_orders(parameters: StoreGenerator, plan: Plan, paths: dict[str, Path]) -> dict[str, int]:
    """Write the orders with all that belongs to them, which comes from one random sequence; return the counts."""
    counts = dict.fromkeys(_OF_ORDERS, 0)
    with ExitStack() as stack:
        files = {
            table: stack.enter_context(paths[table].open("w", encoding="utf-8", newline="")) for table in _OF_ORDERS
        }
        for table, file in files.items():
            file.write(HEADERS[table])
        for order in store_rows.orders(parameters, plan):
            for table, lines in zip(_OF_ORDERS, order, strict=True):
                files[table].write("".join(lines))
                counts[table] += len(lines)
    return counts
