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
            count = write_lines(paths[table], HEADERS[table], lines(parameters, plan))
            report(f"{paths[table]}: {count:,} rows")
    if "orders" not in paths:
        return paths
    head, details = ((paths[table], HEADERS[table]) for table in ("orders", "order_details"))
    order_count, detail_count = write_pairs(head, details, rows.orders(parameters, plan))
    report(f"{paths['orders']}: {order_count:,} rows")
    report(f"{paths['order_details']}: {detail_count:,} rows")
    return paths


def write_lines(path: Path, header: str, lines: Iterable[str]) -> int:
    """Write a CSV file; return the number of lines without the header."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(header)
        for block in _blocks(lines):
            file.write("".join(block))
            count += len(block)
    return count


def write_pairs(
    parents: tuple[Path, str], children: tuple[Path, str], rows: Iterable[tuple[str, list[str]]]
) -> tuple[int, int]:
    """Write parents and their children together, because both come from the same random sequence; return both counts.

    Args:
        parents, children: path and header of each file.
    """
    parent_count = child_count = 0
    with (
        parents[0].open("w", encoding="utf-8", newline="") as parent_file,
        children[0].open("w", encoding="utf-8", newline="") as child_file,
    ):
        parent_file.write(parents[1])
        child_file.write(children[1])
        for line, child_lines in rows:
            parent_file.write(line)
            child_file.write("".join(child_lines))
            parent_count += 1
            child_count += len(child_lines)
    return parent_count, child_count


def _blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(lines)
    while block := list(islice(iterator, _LINES_PER_WRITE)):
        yield block
