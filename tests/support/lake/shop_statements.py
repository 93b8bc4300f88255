"""Shop events for tests of the lake: statements for `LakeTestbed.change`, and a simulation of a live shop."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from config.database_settings import DatabaseSettings
from config.definition import OrdersGenerator
from ops.database import connected
from ops.dataset.shop import ShopDatabase
from ops.dataset.simulate import Simulator
from ops.dataset.simulation import Simulation, SystemClock
from tests.support.lake.testbed import LakeTestbed, Statement


def new_id() -> str:
    """Generate a random order id."""
    return str(uuid.uuid4())


def order(
    order_id: str, *, customer_id: int = 7, num_products: int = 1, at: str = "2025-05-06 07:08:09.123456"
) -> Statement:
    """Build the statement that inserts an order."""
    return "INSERT INTO orders VALUES (%s, %s, 8, 1, %s, %s)", (order_id, customer_id, num_products, at)


def line(order_id: str, product_id: int = 1, quantity: int = 2) -> Statement:
    """Build the statement that inserts a product line of an order."""
    return "INSERT INTO order_details VALUES (%s, %s, %s)", (order_id, product_id, quantity)


def customer(id_: int) -> Statement:
    """Build the statement that inserts a customer."""
    text = "INSERT INTO customers VALUES (%s, 'Ada', 'ada@example.org', NULL, 'gold', NOW(6), NOW(6))"
    return text, (id_,)


@contextmanager
def simulator(testbed: LakeTestbed, simulation: Simulation, stop: threading.Event | None = None) -> Iterator[Simulator]:
    """Yield a simulator that the test can run step by step; it changes existing orders and those it inserts."""
    parameters = testbed.definition.generator
    assert isinstance(parameters, OrdersGenerator)
    clock = SystemClock(stop or threading.Event())
    with connected(DatabaseSettings.read(testbed.environment), testbed.definition.database) as connection:
        yield Simulator(ShopDatabase(connection, wait=clock.wait), parameters, simulation, clock)


def live(testbed: LakeTestbed, simulation: Simulation, stop: threading.Event | None = None) -> None:
    """Run a simulation of the live shop until its limit is reached or `stop` is set."""
    stop = stop or threading.Event()
    with simulator(testbed, simulation, stop) as shop:
        shop.run(stop)
