"""Goal: the demo's history counts in SQL what the live figures have to be.

Method: a database with the tables of the dataset `shop` on the shared PostgreSQL; changes by hand, without a connector.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from config.database_settings import PostgresSettings
from config.dataset import load_definition
from config.engines.base import Connection
from demo.history import History
from ops.database import connect, connected
from ops.dataset.schema import create_schema
from stack.local import Stack

ORDER = "INSERT INTO orders (id, customer_id, status, total) VALUES (%s, 1, 'new', %s)"
IDS = [f"3f2504e0-4f89-11d3-9a0c-0305e82c330{number}" for number in range(4)]


@pytest.fixture
def shop(stack: Stack) -> Iterator[Connection]:
    """A connection to a shop with one customer and one order."""
    login = PostgresSettings.read(stack.environment())
    definition = replace(load_definition("shop"), database=f"history_{secrets.token_hex(4)}")
    with connected(login) as server:
        create_schema(server, definition, drop=True)
    connection = connect(login, definition.database, definition.schema)
    run(connection, "INSERT INTO customers (id, name, email, country) VALUES (1, 'Ada', 'a@example.org', 'DE')")
    run(connection, ORDER, IDS[0], 5)
    yield connection
    connection.close()
    with connected(login) as server:
        server.driver.autocommit = True
        server.driver.execute(f"DROP DATABASE {definition.database} WITH (FORCE)")


def run(connection: Connection, statement: str, *values: object) -> None:
    """Run a statement in a transaction of its own."""
    connection.driver.execute(statement, values or None)
    connection.commit()


def test_the_history_counts_changes_orders_money_and_alerts(shop: Connection) -> None:
    history = History(load_definition("shop"))
    history.begin(shop)
    assert history.figures(shop) == {"customers read": 1, "orders read": 1}
    began = datetime.now(UTC)
    for order, total in zip(IDS[1:], (10, 999.99, 2_000), strict=True):
        run(shop, ORDER, order, total)
    run(shop, "UPDATE orders SET total = 1000 WHERE id = %s", IDS[2])
    run(shop, "UPDATE orders SET status = 'paid' WHERE id = %s", IDS[3])
    run(shop, "DELETE FROM orders WHERE id = %s", IDS[1])
    found = history.figures(shop)
    minutes = {name.rsplit(" ", 1)[1] for name in found if name.startswith("cents of ")}
    assert min(minutes) >= began.strftime("%Y%m%d%H%M")
    assert sum(number for name, number in found.items() if name.startswith("orders of ")) == 2
    assert sum(number for name, number in found.items() if name.startswith("cents of ")) == 300_000
    counts = {name: number for name, number in found.items() if name.rsplit(" ", 1)[1] not in minutes}
    assert counts == {
        "customers read": 1, "orders read": 1, "orders created": 3, "orders updated": 2, "orders deleted": 1,
        "orders by country": 3, "alerts of high values": 2,
    }  # fmt: skip
