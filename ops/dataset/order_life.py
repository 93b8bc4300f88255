"""What the lives of shops have in common whose orders go through states, and are paid, shipped, cancelled or deleted.

Each operation is one transaction. Statements set absolute values only, so that a transaction can be repeated if the
connection is lost during its commit.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final
from uuid import UUID

from ops.dataset.known_orders import KNOWN_ORDERS, KnownOrders
from ops.dataset.life import Life
from ops.dataset.shop import Details, ShopDatabase, Transaction
from ops.dataset.simulation import Clock, Simulation
from stack.errors import StackError

NEW_CUSTOMER_SHARE: Final = 0.1
CANCELLED_SHARE: Final = 0.1
MOST_QUANTITY: Final = 5


class OrderLife(Life):
    """A simulated shop; a subclass knows its tables.

    Attributes:
        orders: name of the table of the orders.
        order_key: column with the key of the orders, which has this name in the tables that refer to them too.
        status: column with the state of the orders.
        empty: what is said if there is nothing that an order could be of.
    """

    orders: ClassVar[str]
    order_key: ClassVar[str]
    status: ClassVar[str]
    empty: ClassVar[str]

    def __init__(
        self, database: ShopDatabase, line_weights: Sequence[float], simulation: Simulation, clock: Clock
    ) -> None:
        if simulation.details is not Details.SAME:
            raise StackError("--details: this dataset has the items of an order in the order's own transaction only")
        super().__init__(simulation, clock)
        self._database = database
        self._line_weights = line_weights
        self._draw_id = random.Random(f"{simulation.seed}/{simulation.salt}")  # noqa: S311
        query = f"SELECT {self.order_key} FROM {self.orders} ORDER BY {self.order_key} LIMIT %s"  # noqa: S608
        known = database.read(query, (KNOWN_ORDERS,))
        status = f"SELECT {self.status} FROM {self.orders} WHERE {self.order_key} = %s"  # noqa: S608
        self._known = KnownOrders(database, self._draw, status, (row[0] for row in known))
        self._customers, self._products = self._highest_keys()

    @abstractmethod
    def _highest_keys(self) -> tuple[int, int]:
        """Return the highest keys of the customers and of the products."""

    def _highest(self, query: str) -> int:
        (highest,) = self._database.read(query)[0]
        if highest is None:
            raise StackError(f"{self.empty}: run `millrace dataset generate` first")
        return int(highest)

    def _commit(self, transaction: Transaction) -> None:
        self._database.commit(transaction)
        self.summary.transactions += 1

    def _id(self) -> str:
        return str(UUID(int=self._draw_id.getrandbits(128), version=4))

    def insert(self) -> None:
        """Place an order; sometimes, its customer is new."""
        transaction: Transaction = []
        customer = self._draw.randint(1, self._customers)
        if self._draw.random() < NEW_CUSTOMER_SHARE:
            self._customers += 1
            customer = self._customers
            transaction += self._new_customer(customer)
        order = self._id()
        self._commit(transaction + self._order(order, customer))
        self._known.add(order)
        self.summary.inserted += 1

    @abstractmethod
    def _new_customer(self, number: int) -> Transaction:
        """Return the statements that add a customer."""

    @abstractmethod
    def _order(self, order: str, customer: int) -> Transaction:
        """Return the statements that place an order."""

    def _chosen_products(self) -> list[int]:
        """Choose the products of an order, each once."""
        weights = self._line_weights
        count = min(self._draw.choices(range(1, len(weights) + 1), weights)[0], self._products)
        return self._draw.sample(range(1, self._products + 1), count)

    def update(self) -> None:
        """Move an order on, or change a row of another table."""
        if self._changed():
            self.summary.updated += 1
        else:
            self.summary.skipped += 1

    @abstractmethod
    def _changed(self) -> bool:
        """Change something; return whether there was something to change."""

    def _change(self, table: str, key: str, column: str, highest: int, other: Any) -> bool:
        number = self._draw.randint(1, highest)
        found = self._database.read(f"SELECT {column} FROM {table} WHERE {key} = %s", (number,))  # noqa: S608
        if found:
            statement = f"UPDATE {table} SET {column} = %s WHERE {key} = %s"  # noqa: S608
            self._commit([(statement, (other(found[0][0]), number))])
        return bool(found)

    def _other_price(self, price: Decimal) -> Decimal:
        return price + Decimal(self._draw.randint(1, 500)) / 100

    def _step(self, steps: Mapping[str, str]) -> bool:
        """Move an order on to its next state; return whether one was found that has not come to its end."""
        found = self._known.existing()
        if found is None:
            return False
        order, status = found
        following = steps.get(status)
        if status in ("new", "paid") and self._draw.random() < CANCELLED_SHARE:
            following = "cancelled"
        if following is None:
            return False
        change = f"UPDATE {self.orders} SET {self.status} = %s WHERE {self.order_key} = %s"  # noqa: S608
        self._commit([(change, (following, order)), *self._consequences(order, following)])
        return True

    def _consequences(self, order: str, status: str) -> Transaction:
        """Return the statements that go with an order's new state."""
        return []

    def delete(self) -> None:
        """Delete an order with all that belongs to it."""
        found = self._known.existing()
        if found is None:
            self.summary.skipped += 1
            return
        order, _ = found
        self._commit([(statement, (order,)) for statement in self._deletions()])
        self._known.forget(order)
        self.summary.deleted += 1

    @abstractmethod
    def _deletions(self) -> list[str]:
        """Return the statements that delete an order, given its key, in an order that no reference forbids."""
