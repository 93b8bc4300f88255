"""Events of a live shop, as transactions on the source database.

Statements set absolute values only (a count, never "one more"), so that a transaction can be retried if the connection
is lost during its commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from config.engines.base import Connection
from config.engines.faults import Fault

TRIES = 3
FIRST_PAUSE_S = 0.5

Line = tuple[int, int]  # product id, quantity
Statement = tuple[str, tuple[Any, ...]]
Transaction = list[Statement]


class Details(StrEnum):
    """Transactions in which the lines of a new order are written.

    `same`: the order's transaction. `later`: one or several transactions after it. `mixed`: chosen at random for each
    order from the same, later and earlier transactions.
    """

    SAME = "same"
    LATER = "later"
    MIXED = "mixed"


@dataclass(frozen=True, kw_only=True)
class NewOrder:
    """An order to place; `ordered_at` is in UTC, and the number of `lines` becomes `num_products`."""

    order_id: str
    customer_id: int
    store_id: int
    payment_method_id: int
    lines: Sequence[Line]
    ordered_at: datetime


@dataclass(frozen=True, kw_only=True)
class ShopOrder:
    """An order and its lines, as read from the database."""

    order_id: str
    customer_id: int
    payment_method_id: int
    num_products: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class PlacedOrder:
    """An order whose last line is committed; `committed_at_ns` is the wall-clock time right after that commit."""

    order_id: str
    committed_at_ns: int


def insert_order(order: NewOrder) -> Transaction:
    """Build the transaction that inserts an order's row, without its lines."""
    text = (
        "INSERT INTO orders (id, customer_id, store_id, payment_method_id, num_products, `timestamp`)"
        " VALUES (%s, %s, %s, %s, %s, %s)"
    )
    moment = order.ordered_at.replace(tzinfo=None)
    values = (order.order_id, order.customer_id, order.store_id, order.payment_method_id, len(order.lines), moment)
    return [(text, values)]


def insert_lines(order_id: str, lines: Sequence[Line]) -> Transaction:
    """Build the transaction that inserts product lines of an order."""
    values = ", ".join(["(%s, %s, %s)"] * len(lines))
    text = f"INSERT INTO order_details (order_id, product_id, quantity) VALUES {values}"  # noqa: S608
    return [(text, tuple(value for line in lines for value in (order_id, *line)))]


def delete_order(order_id: str) -> Transaction:
    """Build the transaction that deletes an order and its product lines."""
    return [
        ("DELETE FROM order_details WHERE order_id = %s", (order_id,)),
        ("DELETE FROM orders WHERE id = %s", (order_id,)),
    ]


def delete_line(order: ShopOrder, product_id: int) -> Transaction:
    """Build the transaction that deletes a product line and decreases the order's `num_products`, but not below 1."""
    return [
        ("DELETE FROM order_details WHERE order_id = %s AND product_id = %s", (order.order_id, product_id)),
        _set_count(order.order_id, max(1, order.num_products - 1)),
    ]


def add_line(order: ShopOrder, line: Line) -> Transaction:
    """Build the transaction that adds a product line and increases the order's `num_products`."""
    return [*insert_lines(order.order_id, [line]), _set_count(order.order_id, order.num_products + 1)]


def change_quantity(order_id: str, line: Line) -> Transaction:
    """Build the transaction that changes the quantity of a product line; `line` has the new quantity."""
    product_id, quantity = line
    text = "UPDATE order_details SET quantity = %s WHERE order_id = %s AND product_id = %s"
    return [(text, (quantity, order_id, product_id))]


def change_customer(order_id: str, customer_id: int) -> Transaction:
    """Build the transaction that changes the customer of an order."""
    return [("UPDATE orders SET customer_id = %s WHERE id = %s", (customer_id, order_id))]


def change_payment_method(order_id: str, payment_method_id: int) -> Transaction:
    """Build the transaction that changes the payment method of an order."""
    return [("UPDATE orders SET payment_method_id = %s WHERE id = %s", (payment_method_id, order_id))]


def _set_count(order_id: str, num_products: int) -> Statement:
    return "UPDATE orders SET num_products = %s WHERE id = %s", (num_products, order_id)


def place_order(connection: Connection, order: NewOrder, *, details: Details = Details.SAME) -> PlacedOrder:
    """Commit an order with its lines (`Details.SAME`), or its lines in a second transaction (`Details.LATER`)."""
    shop = ShopDatabase(connection)
    lines = insert_lines(order.order_id, order.lines)
    if details is Details.SAME:
        shop.commit([*insert_order(order), *lines])
    elif details is Details.LATER:
        shop.commit(insert_order(order))
        shop.commit(lines)
    else:
        raise ValueError("place_order accepts only Details.SAME and Details.LATER, not Details.MIXED")
    return PlacedOrder(order_id=order.order_id, committed_at_ns=time.time_ns())


class ShopDatabase:
    """The shop's tables, accessed over one connection, which is reopened if it is lost."""

    def __init__(self, connection: Connection, *, wait: Callable[[float], object] = time.sleep) -> None:
        self._connection = connection
        self._wait = wait

    def order_ids(self, limit: int) -> list[str]:
        """Read up to `limit` order ids: the lowest ones, which are a random sample because ids are random."""
        return [row[0] for row in self.read("SELECT id FROM orders ORDER BY id LIMIT %s", (limit,))]

    def order(self, order_id: str) -> ShopOrder | None:
        """Read an order and its lines as they are now; None if the order does not exist."""
        text = "SELECT customer_id, payment_method_id, num_products FROM orders WHERE id = %s"
        found = self.read(text, (order_id,))
        if not found:
            return None
        customer_id, payment_method_id, num_products = found[0]
        text = "SELECT product_id, quantity FROM order_details WHERE order_id = %s ORDER BY product_id"
        lines = tuple((row[0], row[1]) for row in self.read(text, (order_id,)))
        return ShopOrder(
            order_id=order_id,
            customer_id=customer_id,
            payment_method_id=payment_method_id,
            num_products=num_products,
            lines=lines,
        )

    def highest_customer_id(self) -> int | None:
        """Read the highest customer id; None if there are no customers."""
        highest: int | None = self.read("SELECT MAX(id) FROM customers", ())[0][0]
        return highest

    def payment_method_ids(self) -> list[int]:
        """Read the ids of all payment methods."""
        return [row[0] for row in self.read("SELECT id FROM payment_method ORDER BY id", ())]

    def commit(self, transaction: Transaction) -> None:
        """Run the statements as one transaction; try up to three times if the connection is lost or a lock fails.

        A duplicate key on a retry means that the previous try was committed.
        """
        for attempt in range(1, TRIES + 1):
            try:
                with self._connection.cursor() as cursor:
                    for text, values in transaction:
                        cursor.execute(text, values)
                self._connection.commit()
                return
            except self._connection.engine.errors as error:
                if attempt > 1 and self._connection.engine.fault(error) is Fault.DUPLICATE:
                    self._connection.rollback()
                    return
                self._recover(error, attempt)

    def read(self, text: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """Run a query; try up to three times if the connection is lost or a lock fails."""
        for attempt in range(1, TRIES + 1):
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute(text, values or None)
                    rows: list[Any] = cursor.fetchall()
                # End the snapshot, so that the next read sees what other clients have committed.
                self._connection.rollback()
                return rows
            except self._connection.engine.errors as error:
                self._recover(error, attempt)
        raise AssertionError("unreachable: the last try returns or raises")

    def _recover(self, error: Exception, attempt: int) -> None:
        """Make the connection usable for a retry, or raise `error` if it is permanent or no tries are left."""
        fault = self._connection.engine.fault(error)
        if fault is not Fault.AWAY:
            self._connection.rollback()
        if attempt == TRIES or fault not in (Fault.AWAY, Fault.LOCKED):
            raise error
        if fault is Fault.AWAY:
            self._reconnect(error)

    def _reconnect(self, error: Exception) -> None:
        for attempt in range(TRIES):
            self._wait(FIRST_PAUSE_S * 2**attempt)
            try:
                self._connection.reconnect()
            except self._connection.engine.errors:
                continue
            return
        raise error
