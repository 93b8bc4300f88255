"""Simulate the dataset `online_store`: orders are paid, shipped, returned and refunded; prices and addresses change.

Each operation is one transaction. Statements set absolute values only, so that a transaction can be repeated if the
connection is lost during its commit.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from config.definition import StoreGenerator
from ops.dataset.generator import shop_rows, store_rows
from ops.dataset.known_orders import KNOWN_ORDERS, KnownOrders
from ops.dataset.life import Life
from ops.dataset.shop import Details, ShopDatabase, Statement, Transaction
from ops.dataset.simulation import Clock, Simulation
from stack.errors import StackError

NEW_CUSTOMER_SHARE: Final = 0.1
CANCELLED_SHARE: Final = 0.1
MOST_QUANTITY: Final = 5


class StoreLife(Life):
    """A simulated marketplace on MySQL or MariaDB."""

    def __init__(
        self, database: ShopDatabase, parameters: StoreGenerator, simulation: Simulation, clock: Clock
    ) -> None:
        if simulation.details is not Details.SAME:
            raise StackError("--details: this dataset has the items of an order in the order's own transaction only")
        super().__init__(simulation, clock)
        self._database = database
        self._parameters = parameters
        self._draw_id = random.Random(f"{simulation.seed}/{simulation.salt}")  # noqa: S311
        self._customers = self._highest("SELECT MAX(CustomerId) FROM Customers")
        self._sellers = self._highest("SELECT MAX(SellerId) FROM Sellers")
        self._products = self._highest("SELECT MAX(ProductId) FROM Products")
        known = database.read("SELECT OrderId FROM Orders ORDER BY OrderId LIMIT %s", (KNOWN_ORDERS,))
        self._known = KnownOrders(
            database, self._draw, "SELECT Status FROM Orders WHERE OrderId = %s", (row[0] for row in known)
        )

    def _highest(self, query: str) -> int:
        (highest,) = self._database.read(query)[0]
        if highest is None:
            raise StackError("the store has no customers, sellers or products: run `millrace dataset generate` first")
        return int(highest)

    def _commit(self, transaction: Transaction) -> None:
        self._database.commit(transaction)
        self.summary.transactions += 1

    def _id(self) -> str:
        return str(UUID(int=self._draw_id.getrandbits(128), version=4))

    def insert(self) -> None:
        """Place an order, whose payment is pending; sometimes, its customer is new."""
        transaction: Transaction = []
        customer = self._draw.randint(1, self._customers)
        if self._draw.random() < NEW_CUSTOMER_SHARE:
            self._customers += 1
            customer = self._customers
            name, mail, country = shop_rows.customer(self._draw, customer)
            values = (customer, name, mail, store_rows.phone(self._draw), country)
            text = "INSERT INTO Customers (CustomerId, Name, Email, PhoneNumber, Country) VALUES (%s, %s, %s, %s, %s)"
            transaction.append((text, values))
        order = self._id()
        self._commit(transaction + self._order(order, customer))
        self._known.add(order)
        self.summary.inserted += 1

    def _order(self, order: str, customer: int) -> Transaction:
        lines = self._lines()
        total = sum((quantity * price for _, _, quantity, price in lines), Decimal())
        head = "INSERT INTO Orders (OrderId, CustomerId, Status, TotalAmount) VALUES (%s, %s, 'new', %s)"
        item = (
            "INSERT INTO OrderItems (OrderItemId, OrderId, ProductId, SellerId, Quantity, UnitPrice)"
            " VALUES (%s, %s, %s, %s, %s, %s)"
        )
        items: list[Statement] = [(item, (self._id(), order, *line)) for line in lines]
        method = self._draw.choices(store_rows.METHODS, store_rows.METHOD_WEIGHTS)[0]
        payment = "INSERT INTO Payments (PaymentId, OrderId, Method, Status, Amount) VALUES (%s, %s, %s, 'pending', %s)"
        return [(head, (order, customer, total)), *items, (payment, (self._id(), order, method, total))]

    def _lines(self) -> list[tuple[int, int, int, Decimal]]:
        """Choose the lines of an order: product, seller, quantity and price of a piece."""
        weights = self._parameters.line_weights
        count = min(self._draw.choices(range(1, len(weights) + 1), weights)[0], self._products)
        chosen = self._draw.sample(range(1, self._products + 1), count)
        holders = ", ".join(["%s"] * len(chosen))
        query = f"SELECT ProductId, SellerId, Price FROM Products WHERE ProductId IN ({holders}) ORDER BY ProductId"  # noqa: S608
        found = self._database.read(query, tuple(chosen))
        return [(product, seller, self._draw.randint(1, MOST_QUANTITY), price) for product, seller, price in found]

    def update(self) -> None:
        """Move an order on, or change a customer, a seller or a product."""
        match self._draw.choices(("order", "customer", "seller", "product"), (12, 2, 1, 1))[0]:
            case "customer":
                changed = self._change("Customers", "CustomerId", "PhoneNumber", self._customers, self._other_phone)
            case "seller":
                changed = self._change("Sellers", "SellerId", "Rating", self._sellers, self._other_rating)
            case "product":
                changed = self._change("Products", "ProductId", "Price", self._products, self._other_price)
            case _:
                changed = self._step()
        if changed:
            self.summary.updated += 1
        else:
            self.summary.skipped += 1

    def _change(self, table: str, key: str, column: str, highest: int, other: Any) -> bool:
        number = self._draw.randint(1, highest)
        found = self._database.read(f"SELECT {column} FROM {table} WHERE {key} = %s", (number,))  # noqa: S608
        if found:
            statement = f"UPDATE {table} SET {column} = %s WHERE {key} = %s"  # noqa: S608
            self._commit([(statement, (other(found[0][0]), number))])
        return bool(found)

    def _other_phone(self, _number: str | None) -> str:
        return store_rows.phone(self._draw)

    def _other_rating(self, rating: Decimal) -> Decimal:
        return rating - Decimal("0.01") if rating > 0 else rating + 1

    def _other_price(self, price: Decimal) -> Decimal:
        return price + Decimal(self._draw.randint(1, 500)) / 100

    def _step(self) -> bool:
        """Move an order and its payment on; a return or a refund gets a reason."""
        found = self._known.existing()
        if found is None:
            return False
        order, status = found
        following = store_rows.STEPS.get(status)
        if status in ("new", "paid") and self._draw.random() < CANCELLED_SHARE:
            following = "cancelled"
        if following is None:  # it has come to its end
            return False
        changes: Transaction = [("UPDATE Orders SET Status = %s WHERE OrderId = %s", (following, order))]
        payment = "UPDATE Payments SET Status = %s WHERE OrderId = %s AND Status <> 'failed'"
        changes.append((payment, (store_rows.PAYMENT_OF[following], order)))
        if following in store_rows.KIND_OF:
            changes += self._reasons(order, store_rows.KIND_OF[following])
        self._commit(changes)
        return True

    def _reasons(self, order: str, kind: str) -> Transaction:
        query = "SELECT OrderItemId, Quantity, UnitPrice FROM OrderItems WHERE OrderId = %s ORDER BY OrderItemId"
        items = self._database.read(query, (order,))
        text = (
            "INSERT INTO Reasons (ReasonId, OrderItemId, Kind, Reason, Quantity, Amount)"
            " VALUES (%s, %s, %s, %s, %s, %s)"
        )
        reason = self._draw.choice(store_rows.REASONS)
        back = items if kind == "refund" else items[:1]
        return [(text, (self._id(), item, kind, reason, count, count * price)) for item, count, price in back]

    def delete(self) -> None:
        """Delete an order with all that belongs to it."""
        found = self._known.existing()
        if found is None:
            self.summary.skipped += 1
            return
        order, _ = found
        reasons = "DELETE FROM Reasons WHERE OrderItemId IN (SELECT OrderItemId FROM OrderItems WHERE OrderId = %s)"
        others = [f"DELETE FROM {table} WHERE OrderId = %s" for table in ("Payments", "OrderItems", "Orders")]  # noqa: S608
        self._commit([(text, (order,)) for text in (reasons, *others)])
        self._known.forget(order)
        self.summary.deleted += 1
