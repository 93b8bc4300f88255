"""Simulate the dataset `online_store`: orders are paid, shipped, returned and refunded; prices and addresses change."""

from __future__ import annotations

from decimal import Decimal

from config.definition import StoreGenerator
from ops.dataset.generator import shop_rows, store_rows
from ops.dataset.order_life import MOST_QUANTITY, OrderLife
from ops.dataset.shop import ShopDatabase, Statement, Transaction
from ops.dataset.simulation import Clock, Simulation


class StoreLife(OrderLife):
    """A simulated marketplace on MySQL or MariaDB."""

    orders, order_key, status = "Orders", "OrderId", "Status"
    empty = "the store has no customers, sellers or products"

    def __init__(
        self, database: ShopDatabase, parameters: StoreGenerator, simulation: Simulation, clock: Clock
    ) -> None:
        super().__init__(database, parameters.line_weights, simulation, clock)
        self._sellers = self._highest("SELECT MAX(SellerId) FROM Sellers")

    def _highest_keys(self) -> tuple[int, int]:
        customers = self._highest("SELECT MAX(CustomerId) FROM Customers")
        return customers, self._highest("SELECT MAX(ProductId) FROM Products")

    def _new_customer(self, number: int) -> Transaction:
        name, mail, country = shop_rows.customer(self._draw, number)
        values = (number, name, mail, store_rows.phone(self._draw), country)
        text = "INSERT INTO Customers (CustomerId, Name, Email, PhoneNumber, Country) VALUES (%s, %s, %s, %s, %s)"
        return [(text, values)]

    def _order(self, order: str, customer: int) -> Transaction:
        """Return the statements that place an order, whose payment is pending."""
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
        chosen = self._chosen_products()
        holders = ", ".join(["%s"] * len(chosen))
        query = f"SELECT ProductId, SellerId, Price FROM Products WHERE ProductId IN ({holders}) ORDER BY ProductId"  # noqa: S608
        found = self._database.read(query, tuple(chosen))
        return [(product, seller, self._draw.randint(1, MOST_QUANTITY), price) for product, seller, price in found]

    def _changed(self) -> bool:
        match self._draw.choices(("order", "customer", "seller", "product"), (12, 2, 1, 1))[0]:
            case "customer":
                return self._change("Customers", "CustomerId", "PhoneNumber", self._customers, self._other_phone)
            case "seller":
                return self._change("Sellers", "SellerId", "Rating", self._sellers, self._other_rating)
            case "product":
                return self._change("Products", "ProductId", "Price", self._products, self._other_price)
            case _:
                return self._step(store_rows.STEPS)

    def _other_phone(self, _number: str | None) -> str:
        return store_rows.phone(self._draw)

    def _other_rating(self, rating: Decimal) -> Decimal:
        return rating - Decimal("0.01") if rating > 0 else rating + 1

    def _consequences(self, order: str, status: str) -> Transaction:
        """Return the statements that move the order's payment on, and give a return or a refund its reason."""
        payment = "UPDATE Payments SET Status = %s WHERE OrderId = %s AND Status <> 'failed'"
        changes: Transaction = [(payment, (store_rows.PAYMENT_OF[status], order))]
        if status in store_rows.KIND_OF:
            changes += self._reasons(order, store_rows.KIND_OF[status])
        return changes

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

    def _deletions(self) -> list[str]:
        reasons = "DELETE FROM Reasons WHERE OrderItemId IN (SELECT OrderItemId FROM OrderItems WHERE OrderId = %s)"
        return [reasons, *(f"DELETE FROM {table} WHERE OrderId = %s" for table in ("Payments", "OrderItems", "Orders"))]  # noqa: S608
