"""Write generated rows as CSV files, one per table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

from config.definition import OrdersGenerator
from ops.dataset.generator import rows
from ops.dataset.generator.plan import Plan

TABLES = ("payment_method", "customers", "orders", "order_details")
HEADERS = {
    "payment_method": "id,name,bank\n",
    "customers": "id,name,email,phone,tier,created_at,updated_at\n",
    "orders": "id,customer_id,store_id,payment_method_id,num_products,timestamp\n",
    "order_details": "order_id,product_id,quantity\n",
}
_LINES_PER_WRITE = 10_000


def write_files(
    parameters: OrdersGenerator,
    plan: Plan,
    folder: Path,
    report: Callable[[str], None] = lambda line: None,
    *,
    tables: Collection[str] = TABLES,
) -> dict[str, Path]:
    """Write the files of `plan` into `folder`; return their paths keyed by table, in loading order.

    The rows of a table do not depend on `tables`, but `orders` and `order_details` are written together.
    """
    assert ("orders" in tables) == ("order_details" in tables), "orders and their lines come from one random sequence"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {table: folder / f"{table}.csv" for table in TABLES if table in tables}
    for table, lines in (("payment_method", rows.payment_methods), ("customers", rows.customers)):
        if table in paths:
            count = _write(paths[table], HEADERS[table], lines(parameters, plan))
            report(f"{paths[table]}: {count:,} rows")
    if "orders" not in paths:
        return paths
    order_count, detail_count = _write_orders(parameters, plan, paths["orders"], paths["order_details"])
    report(f"{paths['orders']}: {order_count:,} rows")
    report(f"{paths['order_details']}: {detail_count:,} rows")
    return paths


def _write(path: Path, header: str, lines: Iterable[str]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(header)
        for block in _blocks(lines):
            file.write("".join(block))
            count += len(block)
    return count


def _write_orders(parameters: OrdersGenerator, plan: Plan, orders: Path, details: Path) -> tuple[int, int]:
    """Write orders and their lines together, because both come from the same random sequence; return both counts."""
    order_count = detail_count = 0
    with (
        orders.open("w", encoding="utf-8", newline="") as order_file,
        details.open("w", encoding="utf-8", newline="") as detail_file,
    ):
        order_file.write(HEADERS["orders"])
        detail_file.write(HEADERS["order_details"])
        for line, detail_lines in rows.orders(parameters, plan):
            order_file.write(line)
            detail_file.write("".join(detail_lines))
            order_count += 1
            detail_count += len(detail_lines)
    return order_count, detail_count


def _blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(lines)
    while block := list(islice(iterator, _LINES_PER_WRITE)):
        yield block
