"""Simulate the dataset `shop`: orders go through their states, customers move, prices change, orders are deleted."""

from __future__ import annotations

from decimal import Decimal

from config.definition import ShopGenerator
from ops.dataset.generator import shop_rows
from ops.dataset.order_life import MOST_QUANTITY, OrderLife
from ops.dataset.shop import ShopDatabase, Transaction
from ops.dataset.simulation import Clock, Simulation


class StatusShop(OrderLife):
    """A simulated shop on PostgreSQL."""

    orders, order_key, status = "orders", "id", "status"
    empty = "the shop has no customers or products"

    def __init__(self, database: ShopDatabase, parameters: ShopGenerator, simulation: Simulation, clock: Clock) -> None:
        super().__init__(database, parameters.line_weights, simulation, clock)

    def _highest_keys(self) -> tuple[int, int]:
        return self._highest("SELECT max(id) FROM customers"), self._highest("SELECT max(id) FROM products")

    def _new_customer(self, number: int) -> Transaction:
        values = (number, *shop_rows.customer(self._draw, number))
        return [("INSERT INTO customers (id, name, email, country) VALUES (%s, %s, %s, %s)", values)]

    def _order(self, order: str, customer: int) -> Transaction:
        chosen = self._chosen_products()
        prices = dict(self._database.read("SELECT id, price FROM products WHERE id = ANY(%s)", (chosen,)))
        lines = [(product, self._draw.randint(1, MOST_QUANTITY), prices[product]) for product in sorted(prices)]
        total = sum((quantity * price for _, quantity, price in lines), Decimal())
        head = "INSERT INTO orders (id, customer_id, status, total) VALUES (%s, %s, %s, %s)"
        item = "INSERT INTO order_items (order_id, product_id, quantity, unit_price) VALUES (%s, %s, %s, %s)"
        return [(head, (order, customer, "new", total)), *((item, (order, *line)) for line in lines)]

    def _changed(self) -> bool:
        match self._draw.choices(("order", "customer", "product"), (8, 1, 1))[0]:
            case "customer":
                return self._change("customers", "id", "country", self._customers, self._other_country)
            case "product":
                return self._change("products", "id", "price", self._products, self._other_price)
            case _:
                return self._step(shop_rows.STEPS)

    def _other_country(self, country: str) -> str:
        return self._draw.choice([name for name in shop_rows.COUNTRIES if name != country])

    def _deletions(self) -> list[str]:
        return ["DELETE FROM order_items WHERE order_id = %s", "DELETE FROM orders WHERE id = %s"]
