"""Stand-ins for the database, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from mysql.connector import IntegrityError

from ops.dataset.shop import ShopOrder, Transaction


class FakeCursor:
    """Hands statements to its connection."""

    def __init__(self, connection: FakeConnection) -> None:
        self._connection = connection

    def __enter__(self) -> FakeCursor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: str, values: tuple[Any, ...] | None = None) -> None:
        self._connection.receive(statement)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return []


class FakeConnection:
    """Takes statements; those that `refuses` picks out fail as a duplicate key."""

    def __init__(self, refuses: Callable[[str], bool] = lambda statement: False) -> None:
        self.statements: list[str] = []
        self.commits = 0
        self._refuses = refuses

    def cursor(self) -> FakeCursor:
        return FakeCursor(self)

    def receive(self, statement: str) -> None:
        if statement.startswith("INSERT") and self._refuses(statement):
            raise IntegrityError(msg="refused", errno=1062, sqlstate="23000")
        self.statements.append(statement)

    def commit(self) -> None:
        self.commits += 1

    def rollback(self) -> None:
        pass


class FakeShop:
    """The shop's tables as dictionaries; understands the statements that `ops.dataset.shop` makes."""

    def __init__(self, *, customers: int | None = 100, payment_methods: int = 12) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.lines: dict[str, dict[int, int]] = {}
        self.transactions: list[Transaction] = []
        self._customers = customers
        self._payment_methods = payment_methods

    def order_ids(self, limit: int) -> list[str]:
        return sorted(self.orders)[:limit]

    def order(self, order_id: str) -> ShopOrder | None:
        found = self.orders.get(order_id)
        if found is None:
            return None
        return ShopOrder(
            order_id=order_id,
            customer_id=found["customer_id"],
            payment_method_id=found["payment_method_id"],
            num_products=found["num_products"],
            lines=tuple(sorted(self.lines.get(order_id, {}).items())),
        )

    def highest_customer_id(self) -> int | None:
        return self._customers

    def payment_method_ids(self) -> list[int]:
        return list(range(1, self._payment_methods + 1))

    def commit(self, transaction: Transaction) -> None:
        self.transactions.append(transaction)
        for text, values in transaction:
            self._apply(text, values)

    def _apply(self, text: str, values: tuple[Any, ...]) -> None:
        if text.startswith("INSERT INTO orders"):
            assert values[0] not in self.orders
            names = ("customer_id", "store_id", "payment_method_id", "num_products", "timestamp")
            self.orders[values[0]] = dict(zip(names, values[1:], strict=True))
        elif text.startswith("INSERT INTO order_details"):
            for order_id, product, quantity in zip(*[iter(values)] * 3, strict=True):
                assert product not in self.lines.setdefault(order_id, {})
                self.lines[order_id][product] = quantity
        elif text.startswith("UPDATE orders SET "):
            column = text.removeprefix("UPDATE orders SET ").split(" ")[0]
            assert self.orders[values[1]][column] != values[0]
            self.orders[values[1]][column] = values[0]
        elif text.startswith("UPDATE order_details"):
            assert self.lines[values[1]][values[2]] != values[0]
            self.lines[values[1]][values[2]] = values[0]
        elif text == "DELETE FROM order_details WHERE order_id = %s AND product_id = %s":
            del self.lines[values[0]][values[1]]
        elif text == "DELETE FROM order_details WHERE order_id = %s":
            self.lines.pop(values[0], None)
        else:
            assert text == "DELETE FROM orders WHERE id = %s"
            del self.orders[values[0]]


class FakeClock:
    """Time that passes only by waiting, and by `step_s` whenever it is looked at."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.elapsed_s = 0.0
        self.waits: list[float] = []
        self._step_s = step_s

    def now(self) -> datetime:
        return datetime(2025, 6, 1, tzinfo=UTC) + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        self.elapsed_s += self._step_s
        return self.elapsed_s

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.elapsed_s += seconds
