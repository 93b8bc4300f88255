"""Generate the input of the stream benchmark, without I/O: orders as the connector would deliver them.

Each order is one transaction, which inserts the order's row and then its product lines, each at its own binlog
position.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from config.definition import OrdersGenerator
from ops.dataset.generator import rows
from ops.dataset.generator.plan import Plan, make_plan

ORDERS: Final = "orders"
DETAILS: Final = "order_details"
PAYMENT_METHODS: Final = "payment_method"

_FIRST_COMMIT_MS: Final = 1_767_225_600_000
_BYTES_PER_CHANGE: Final = 310
"""Approximate number of bytes in the binlog for one inserted row, including its share of the transaction."""

Lines = tuple[tuple[int, int], ...]
"""The product lines of one order, as pairs of product id and quantity, sorted by product id."""

Expected = Mapping[bytes, Lines]
"""Product lines of all expected complete orders, keyed by the record key (the order id)."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, kw_only=True)
class Input:
    """A benchmark input of a given size; `part` is the share of its orders that slow systems process."""

    name: str
    orders: int
    order_details: int | None = None
    part: float = 1.0


INPUTS: Final = {
    each.name: each
    for each in (
        Input(name="tiny", orders=300),
        Input(name="small", orders=25_000),
        Input(name="large", orders=300_000, order_details=600_000, part=0.1),
    )
}


class Change(NamedTuple):
    """A change record: the table that it is about, its key, and its envelope as JSON."""

    table: str
    key: str
    value: bytes


class Order(NamedTuple):
    """A generated order: its row (values by column) and its product lines."""

    row: Mapping[str, Any]
    lines: Lines


def plan_of(size: Input, parameters: OrdersGenerator) -> Plan:
    """Compute the numbers of orders, product lines and customers to generate for an input."""
    plan = make_plan(parameters, orders=size.orders)
    details = plan.order_details if size.order_details is None else size.order_details
    return dataclasses.replace(plan, order_details=details)


def orders_of(plan: Plan, parameters: OrdersGenerator) -> Iterator[Order]:
    """Generate the orders, oldest first; the same plan gives the same orders."""
    for row, lines in rows.orders(parameters, plan):
        id_, customer, store, payment, count, moment = row.rstrip("\n").split(",")
        columns = {
            "id": id_,
            "customer_id": int(customer),
            "store_id": int(store),
            "payment_method_id": int(payment),
            "num_products": int(count),
            "timestamp": moment.replace(" ", "T") + "Z",
        }
        products = (line.rstrip("\n").split(",")[1:] for line in lines)
        yield Order(columns, tuple(sorted((int(product), int(quantity)) for product, quantity in products)))


def expected_of(orders: Iterable[Order]) -> Expected:
    """Return the product lines of all complete orders, which have at least `num_products` lines."""
    return {order.row["id"].encode(): order.lines for order in orders if len(order.lines) >= order.row["num_products"]}


def payment_method_changes(plan: Plan, parameters: OrdersGenerator) -> Iterator[Change]:
    """Generate the change records of the payment methods, with binlog positions before those of all orders."""
    for number, line in enumerate(rows.payment_methods(parameters, plan), start=1):
        id_, name, bank = line.rstrip("\n").split(",")
        row = {"id": int(id_), "name": name, "bank": bank}
        yield Change(PAYMENT_METHODS, id_, _envelope(PAYMENT_METHODS, row, transaction=0, number=number))


def order_changes(orders: Iterable[Order]) -> Iterator[Change]:
    """Generate the change records that the connector would write for the orders."""
    number = 100
    for transaction, order in enumerate(orders, start=1):
        id_ = order.row["id"]
        number += 1
        yield Change(ORDERS, id_, _envelope(ORDERS, order.row, transaction=transaction, number=number))
        for product, quantity in order.lines:
            row = {"order_id": id_, "product_id": product, "quantity": quantity}
            number += 1
            yield Change(DETAILS, id_, _envelope(DETAILS, row, transaction=transaction, number=number))


def _envelope(table: str, row: Mapping[str, Any], *, transaction: int, number: int) -> bytes:
    """Build the change envelope of an insert as Debezium's MariaDB connector does, but without the schema."""
    committed_ms = _FIRST_COMMIT_MS + transaction
    source = {
        "version": "3.5.0.Final",
        "connector": "mariadb",
        "name": "project_db",
        "ts_ms": committed_ms,
        "snapshot": "false",
        "db": "project_db",
        "sequence": None,
        "ts_us": committed_ms * 1_000,
        "ts_ns": committed_ms * 1_000_000,
        "table": table,
        "server_id": 1,
        "gtid": f"0-1-{transaction}",
        "file": "mysql-bin.000003",
        "pos": number * _BYTES_PER_CHANGE,
        "row": 0,
        "thread": 42,
        "query": None,
    }
    read_ms = committed_ms + 12
    return _encode(
        {
            "before": None,
            "after": row,
            "source": source,
            "transaction": None,
            "op": "c",
            "ts_ms": read_ms,
            "ts_us": read_ms * 1_000 + 345,
            "ts_ns": read_ms * 1_000_000 + 345_678,
        }
    )
