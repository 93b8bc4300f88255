"""Simulate a live shop: random new orders, changes and deletions, with given probabilities and at a given rate.

All choices derive from the seed. Order ids also depend on a salt, which by default differs from run to run, so that the
same seed can be used twice on one database. With the same salt and the same initial rows, a run repeats its order ids.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from uuid import UUID

from config.definition import Generator, OrdersGenerator, ShopGenerator, StoreGenerator
from config.engines.base import Connection
from ops.dataset import shop
from ops.dataset.life import Life
from ops.dataset.shop import Details, NewOrder, ShopDatabase, ShopOrder, Transaction
from ops.dataset.simulation import Clock, Simulation, Summary, SystemClock
from ops.dataset.status_shop import StatusShop
from ops.dataset.store_life import StoreLife

KNOWN_ORDERS = 10_000
LATER_SHARE = 0.5
LINE_DELETION_SHARE = 0.3
TRIES_TO_FIND_AN_ORDER = 20
MOST_QUANTITY = 10


def simulate(
    connection: Connection,
    parameters: Generator,
    simulation: Simulation,
    *,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Summary:
    """Simulate until the count, the time limit or `stop` ends the simulation, then finish the orders already begun.

    Raises:
        Exception: the driver's error; the database rejected a statement, or could not be reached after three tries.
    """
    stop = stop or threading.Event()
    database = ShopDatabase(connection, wait=stop.wait)
    clock = clock or SystemClock(stop)
    return _life(database, parameters, simulation, clock).run(stop, report)


def _life(database: ShopDatabase, parameters: Generator, simulation: Simulation, clock: Clock) -> Life:
    match parameters:
        case OrdersGenerator():
            return Simulator(database, parameters, simulation, clock)
        case ShopGenerator():
            return StatusShop(database, parameters, simulation, clock)
        case StoreGenerator():
            return StoreLife(database, parameters, simulation, clock)


class Simulator(Life):
    """A simulated shop: makes random changes in the source database at a given rate, and tracks which orders exist."""

    def __init__(
        self, database: ShopDatabase, parameters: OrdersGenerator, simulation: Simulation, clock: Clock
    ) -> None:
        super().__init__(simulation, clock)
        self._database = database
        self._parameters = parameters
        self._draw_id = random.Random(f"{simulation.seed}/{simulation.salt}")  # noqa: S311
        self._customers = database.highest_customer_id() or parameters.customers
        self._payment_methods = database.payment_method_ids() or list(range(1, parameters.payment_methods + 1))
        self._known = database.order_ids(KNOWN_ORDERS) if simulation.insert_p < 1 else []
        self._unfinished: deque[tuple[str, list[Transaction]]] = deque()

    def finish(self) -> None:
        """Commit the pending lines of the orders already begun."""
        while self._unfinished:
            self._finish_one()

    def after(self) -> None:
        """Sometimes commit pending lines of an earlier order."""
        if self._unfinished and self._draw.random() < LATER_SHARE:
            self._finish_one()

    def _commit(self, transaction: Transaction) -> None:
        self._database.commit(transaction)
        self.summary.transactions += 1

    def insert(self) -> None:
        """Place an order."""
        order = self._new_order()
        first, *rest = self._transactions(order)
        self._commit(first)
        self.summary.inserted += 1
        if rest:
            self._unfinished.append((order.order_id, rest))
        else:
            self._remember(order.order_id)

    def _remember(self, order_id: str) -> None:
        if self._simulation.insert_p < 1:
            self._known.append(order_id)

    def _finish_one(self) -> None:
        """Commit the next transaction of the unfinished order that has waited longest."""
        order_id, (first, *rest) = self._unfinished.popleft()
        self._commit(first)
        if rest:
            self._unfinished.append((order_id, rest))
        else:
            self._remember(order_id)

    def _new_order(self) -> NewOrder:
        weights = self._parameters.line_weights
        count = self._draw.choices(range(1, len(weights) + 1), weights)[0]
        products = self._draw.sample(range(1, self._parameters.products + 1), count)
        return NewOrder(
            order_id=str(UUID(int=self._draw_id.getrandbits(128), version=4)),
            customer_id=self._draw.randint(1, self._customers),
            store_id=self._draw.randint(1, self._parameters.stores),
            payment_method_id=self._draw.choice(self._payment_methods),
            lines=[(product, self._quantity()) for product in products],
            ordered_at=self._clock.now(),
        )

    def _quantity(self) -> int:
        return self._draw.randint(1, MOST_QUANTITY)

    def _transactions(self, order: NewOrder) -> list[Transaction]:
        """Build the transactions that insert an order: its lines together with its row, or later, or before it.

        The setting `details` of the simulation decides; `mixed` chooses one of the three at random.
        """
        head, lines = shop.insert_order(order), shop.insert_lines(order.order_id, order.lines)
        details = self._simulation.details
        way = self._draw.choice(("same", "later", "first")) if details is Details.MIXED else details.value
        if way == "same":
            return [[*head, *lines]]
        if way == "first":
            return [lines, head]
        if self._draw.random() < 0.5:
            return [head, lines]
        return [head, *(shop.insert_lines(order.order_id, [line]) for line in order.lines)]

    def _existing(self) -> ShopOrder | None:
        """Choose a known order that still exists; None if none is found, as when other clients deleted them."""
        for _ in range(TRIES_TO_FIND_AN_ORDER):
            if not self._known:
                return None
            place = self._draw.randrange(len(self._known))
            order = self._database.order(self._known[place])
            if order is not None:
                return order
            self._forget(self._known[place])
        return None

    def _forget(self, order_id: str) -> None:
        place = self._known.index(order_id)
        self._known[place] = self._known[-1]
        self._known.pop()

    def update(self) -> None:
        """Change an order."""
        order = self._existing()
        if order is None:
            self.summary.skipped += 1
            return
        self._commit(self._change(order))
        self.summary.updated += 1

    def _change(self, order: ShopOrder) -> Transaction:
        """Build a random update that changes a value, because databases don't log updates that change nothing."""
        lines = dict(order.lines)
        match self._draw.choice(["customer", "payment method", "quantity", "line"] if lines else ["customer"]):
            case "payment method" if self._payment_methods != [order.payment_method_id]:
                others = [method for method in self._payment_methods if method != order.payment_method_id]
                return shop.change_payment_method(order.order_id, self._draw.choice(others))
            case "quantity":
                product = self._draw.choice(list(lines))
                return shop.change_quantity(order.order_id, (product, lines[product] % MOST_QUANTITY + 1))
            case "line" if len(lines) < self._parameters.products:
                product = self._draw.randint(1, self._parameters.products)
                while product in lines:
                    product = product % self._parameters.products + 1
                return shop.add_line(order, (product, self._quantity()))
        return shop.change_customer(order.order_id, order.customer_id % self._customers + 1)

    def delete(self) -> None:
        """Delete an order or one of its lines."""
        order = self._existing()
        if order is None:
            self.summary.skipped += 1
            return
        if len(order.lines) > 1 and self._draw.random() < LINE_DELETION_SHARE:
            self._commit(shop.delete_line(order, self._draw.choice(order.lines)[0]))
        else:
            self._commit(shop.delete_order(order.order_id))
            self._forget(order.order_id)
        self.summary.deleted += 1
