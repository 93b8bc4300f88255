"""Compare the newest published state of each order with the database: `order_amended` supplements `order_final`.

An order that was published once is stale if its newest record differs from its rows in the database, for example
because the rows were deleted and the deletion was never captured.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final, Self

import msgspec
from msgspec import Struct

from config.definition import Completeness, Definition
from config.engines.base import Connection, Engine
from ops.database import fetched
from ops.dataset.final_topic import FinalRecord, Order
from ops.topic_reader import TopicReader
from streams.model.published import OrderStatus

PAUSE_S: Final = 3.0
"""Seconds between two comparisons: far longer than a change needs from the database to the topics."""

NO_LONGER_EXISTS: Final = "no longer exists in the database"


class _Method(Struct, frozen=True):
    id: int


class _Product(Struct, frozen=True, order=True):
    product_id: int
    quantity: int


class Published(Struct, frozen=True, kw_only=True):
    """The fields of an order that are compared, from a record of either topic, or from the database."""

    order_id: str
    status: OrderStatus = OrderStatus.COMPLETE
    revision: int = 0
    customer_id: int | None = None
    store_id: int | None = None
    payment_method: _Method | None = None
    num_products: int = 0
    products: tuple[_Product, ...] = ()

    @classmethod
    def of(cls, order: Order) -> Self:
        """Take the compared fields of a record in `order_final`."""
        return cls(
            order_id=order.order_id,
            customer_id=order.customer_id,
            store_id=order.store_id,
            payment_method=_Method(order.payment_method.id),
            num_products=order.num_products,
            products=tuple(_Product(line.product_id, line.quantity) for line in order.products),
        )

    def fault(self, source: Published | None) -> str | None:
        """Explain how this record differs from the order in the database (None: it has no such order)."""
        if source is None:
            return None if self.status is OrderStatus.DELETED else NO_LONGER_EXISTS
        if self.status is not source.status:
            return f"is {self.status.value} in the topics, but {source.status.value} in the database"
        names = ("customer_id", "store_id", "payment_method", "num_products", "products")
        differing = [name for name in names if getattr(self, name) != getattr(source, name)]
        return f"differs in {', '.join(differing)}" if differing else None


_decoder = msgspec.json.Decoder(Published)


def stale_orders(
    connection: Connection, definition: Definition, final: Iterable[FinalRecord], amended: TopicReader
) -> dict[str, str]:
    """Return the orders whose newest record differs from the database twice, although it did not change in between.

    The values explain how they differ.

    Args:
        final: the records of `order_final`; an order that is published later cannot be stale yet.
        amended: an unused reader of `order_amended`.

    Raises:
        StackError: the database or Kafka cannot be read.
    """
    newest = {record.order.order_id: Published.of(record.order) for record in final if record.order is not None}
    _read(amended, newest)
    first = _faults(newest, source_orders(connection, definition))
    if not first:
        return {}
    time.sleep(PAUSE_S)
    before = {order_id: newest[order_id] for order_id in first}
    source = source_orders(connection, definition)
    _read(amended, newest)
    faults = _faults(newest, source)
    return {order_id: fault for order_id, fault in faults.items() if before.get(order_id) == newest[order_id]}


def _read(amended: TopicReader, newest: dict[str, Published]) -> None:
    def keep(_: bytes | None, value: bytes | None) -> None:
        try:
            order = _decoder.decode(value or b"")
        except msgspec.DecodeError:
            return  # the workers write only valid records
        known = newest.get(order.order_id)
        if known is None or order.revision > known.revision:
            newest[order.order_id] = order

    amended.visit_to_end(keep)


def _faults(newest: Mapping[str, Published], source: Mapping[str, Published | None]) -> dict[str, str]:
    found = {}
    for order_id, order in newest.items():
        wanted = source.get(order_id)
        if wanted is None and order_id in source:
            continue  # its rows break a rule, so its newest changes are dead letters
        fault = order.fault(wanted)
        if fault is not None:
            found[order_id] = fault
    return found


def source_orders(connection: Connection, definition: Definition) -> dict[str, Published | None]:
    """Read every order of the database from one consistent snapshot; None if its rows break a rule of the streams."""
    rule = definition.completeness
    assert rule is not None
    products: dict[str, list[_Product]] = {}
    invalid: set[str] = set()
    orders: dict[str, Published | None] = {}
    with connection.engine.consistent_snapshot(connection):
        for order_id, product_id, quantity in fetched(connection, _lines_query(connection.engine, definition, rule)):
            if quantity is None or quantity < 1:
                invalid.add(order_id)
            else:
                products.setdefault(order_id, []).append(_Product(product_id, quantity))
        rows = fetched(connection, _orders_query(connection.engine, definition, rule))
        for order_id, customer_id, store_id, method, expected in rows:
            if order_id in invalid or expected is None or expected < 1:
                orders[order_id] = None
                continue
            lines = tuple(sorted(products.get(order_id, ())))
            orders[order_id] = Published(
                order_id=order_id,
                status=OrderStatus.COMPLETE if len(lines) >= expected else OrderStatus.INCOMPLETE,
                customer_id=customer_id,
                store_id=store_id,
                payment_method=None if method is None else _Method(method),
                num_products=expected,
                products=lines,
            )
    return orders


def _orders_query(engine: Engine, definition: Definition, rule: Completeness) -> str:
    parent = definition.table(rule.parent)
    assert parent.topic_key is not None
    columns = ", ".join(map(engine.quoted, (parent.topic_key, "customer_id", "store_id", "payment_method_id")))
    return f"SELECT {columns}, {engine.quoted(rule.expected_column)} FROM {engine.quoted(parent.name)}"  # noqa: S608


def _lines_query(engine: Engine, definition: Definition, rule: Completeness) -> str:
    children = definition.table(rule.children)
    assert children.topic_key is not None
    return f"SELECT {engine.quoted(children.topic_key)}, product_id, quantity FROM {engine.quoted(children.name)}"  # noqa: S608
