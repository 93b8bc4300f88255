"""Simulate the dataset `shop`: orders go through their states, customers move, prices change, orders are deleted.

Each operation is one transaction. Statements set absolute values only, so that a transaction can be repeated if the
connection is lost during its commit.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any
from uuid import UUID

from config.definition import ShopGenerator
from ops.dataset.generator import shop_rows
from ops.dataset.known_orders import KNOWN_ORDERS, KnownOrders
from ops.dataset.life import Life
from ops.dataset.shop import Details, ShopDatabase, Transaction
from ops.dataset.simulation import Clock, Simulation
from stack.errors import StackError

NEW_CUSTOMER_SHARE = 0.1
CANCELLED_SHARE = 0.1
MOST_QUANTITY = 5


class StatusShop(Life):
    """A simulated shop on PostgreSQL."""

    def __init__(self, database: ShopDatabase, parameters: ShopGenerator, simulation: Simulation, clock: Clock) -> None:
        if simulation.details is not Details.SAME:
            raise StackError("--details: this dataset has the items of an order in the order's own transaction only")
        super().__init__(simulation, clock)
        self._database = database
        self._parameters = parameters
        self._draw_id = random.Random(f"{simulation.seed}/{simulation.salt}")  # noqa: S311
        self._customers = self._highest("SELECT max(id) FROM customers")
        self._products = self._highest("SELECT max(id) FROM products")
        known = database.read("SELECT id FROM orders ORDER BY id LIMIT %s", (KNOWN_ORDERS,))
        self._known = KnownOrders(
            database, self._draw, "SELECT status FROM orders WHERE id = %s", (row[0] for row in known)
        )

    def _highest(self, query: str) -> int:
        (highest,) = self._database.read(query)[0]
        if highest is None:
            raise StackError("the shop has no customers or products: run `millrace dataset generate` first")
        return int(highest)

    def _commit(self, transaction: Transaction) -> None:
        self._database.commit(transaction)
        self.summary.transactions += 1

    def insert(self) -> None:
        """Place an order; sometimes, its customer is new."""
        transaction: Transaction = []
        customer = self._draw.randint(1, self._customers)
        if self._draw.random() < NEW_CUSTOMER_SHARE:
            self._customers += 1
            customer = self._customers
            values = (customer, *shop_rows.customer(self._draw, customer))
            transaction.append(("INSERT INTO customers (id, name, email, country) VALUES (%s, %s, %s, %s)", values))
        order_id = str(UUID(int=self._draw_id.getrandbits(128), version=4))
        self._commit(transaction + self._order(order_id, customer))
        self._known.add(order_id)
        self.summary.inserted += 1

    def _order(self, order_id: str, customer: int) -> Transaction:
        weights = self._parameters.line_weights
        count = min(self._draw.choices(range(1, len(weights) + 1), weights)[0], self._products)
        chosen = self._draw.sample(range(1, self._products + 1), count)
        prices = dict(self._database.read("SELECT id, price FROM products WHERE id = ANY(%s)", (chosen,)))
        lines = [(product, self._draw.randint(1, MOST_QUANTITY), prices[product]) for product in sorted(prices)]
        total = sum((quantity * price for _, quantity, price in lines), Decimal())
        order = "INSERT INTO orders (id, customer_id, status, total) VALUES (%s, %s, %s, %s)"
        item = "INSERT INTO order_items (order_id, product_id, quantity, unit_price) VALUES (%s, %s, %s, %s)"
        return [(order, (order_id, customer, "new", total)), *((item, (order_id, *line)) for line in lines)]

    def update(self) -> None:
        """Move an order on, or change a customer's country or a product's price."""
        match self._draw.choices(("order", "customer", "product"), (8, 1, 1))[0]:
            case "customer":
                changed = self._change("customers", "country", self._customers, self._other_country)
            case "product":
                changed = self._change("products", "price", self._products, self._other_price)
            case _:
                changed = self._step()
        if changed:
            self.summary.updated += 1
        else:
            self.summary.skipped += 1

    def _change(self, table: str, column: str, highest: int, other: Any) -> bool:
        number = self._draw.randint(1, highest)
        found = self._database.read(f"SELECT {column} FROM {table} WHERE id = %s", (number,))  # noqa: S608
        if found:
            statement = f"UPDATE {table} SET {column} = %s WHERE id = %s"  # noqa: S608
            self._commit([(statement, (other(found[0][0]), number))])
        return bool(found)

    def _other_country(self, country: str) -> str:
        return self._draw.choice([name for name in shop_rows.COUNTRIES if name != country])

    def _other_price(self, price: Decimal) -> Decimal:
        return price + Decimal(self._draw.randint(1, 500)) / 100

    def _step(self) -> bool:
        found = self._known.existing()
        if found is None:
            return False
        order_id, status = found
        following = shop_rows.STEPS.get(status)
        if status in ("new", "paid") and self._draw.random() < CANCELLED_SHARE:
            following = "cancelled"
        if following is None:  # it has come to its end
            return False
        self._commit([("UPDATE orders SET status = %s WHERE id = %s", (following, order_id))])
        return True

    def delete(self) -> None:
        """Delete an order with its items."""
        found = self._known.existing()
        if found is None:
            self.summary.skipped += 1
            return
        order_id, _ = found
        items = ("DELETE FROM order_items WHERE order_id = %s", (order_id,))
        self._commit([items, ("DELETE FROM orders WHERE id = %s", (order_id,))])
        self._known.forget(order_id)
        self.summary.deleted += 1
