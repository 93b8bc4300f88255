"""The oracle: compute the complete orders from the source database and compare them with `order_final`.

Completeness is recomputed in SQL and shares no code with the streams. An order is complete when its row exists and it
has at least `num_products` lines with distinct products. A `num_products` or a quantity below 1 is invalid: such an
order is never complete, and such a line is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from config.definition import Completeness, Definition
from config.engines.base import Connection, Engine
from ops.database import fetched
from ops.dataset.final_topic import FinalRecord, Order, PaymentMethod, Product
from stack.errors import StackError

EXAMPLES = 20


class Verdict(Struct, kw_only=True):
    """Result of comparing `order_final` with the database. The lists hold order ids; all but `unexpected` are faults.

    `stale` orders are those whose newest record, in `order_final` or `order_amended`, differs from the database; the
    values are their faults.

    `unexpected` orders are in the topic but not complete in the database. That is not a fault: such an order may
    have been changed or deleted after it was complete.
    """

    complete: int
    records: int
    distinct: int
    duplicates: int
    missing: list[str]
    unexpected: list[str]
    malformed: list[str]
    different: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    stale: dict[str, str] = field(default_factory=dict)
    strict: bool = False

    @property
    def passed(self) -> bool:
        """Whether no order is missing, repeated or stale, and every record is valid (if strict, with equal fields)."""
        return not (self.missing or self.duplicates or self.malformed or self.different or self.stale)

    @property
    def repairable(self) -> list[str]:
        """The orders that are missing or stale, which a repair reads again from the database."""
        return [*self.missing, *self.stale]

    def figures(self) -> dict[str, Any]:
        """Return the verdict as JSON data: counts, and some order ids for each list."""
        lists = ("missing", "repeated", "unexpected", "malformed", "stale", "different")
        return {
            "passed": self.passed,
            "strict": self.strict,
            "complete": self.complete,
            "records": self.records,
            "distinct": self.distinct,
            "duplicates": self.duplicates,
            "missing": len(self.missing),
            "unexpected": len(self.unexpected),
            "malformed": len(self.malformed),
            "stale": len(self.stale),
            "different": len(self.different) if self.strict else None,
            "examples": {name: self._examples(name) for name in lists if getattr(self, name)},
        }

    def _examples(self, name: str) -> list[str]:
        found = getattr(self, name)
        lines = [f"{order_id}: {fault}" for order_id, fault in found.items()] if isinstance(found, dict) else found
        return lines[:EXAMPLES]


def expected_orders(connection: Connection, definition: Definition) -> dict[str, Order]:
    """Read every complete order of the database from one consistent snapshot, with its lines sorted by product id.

    Raises:
        StackError: the dataset's definition declares no completeness rule.
    """
    rule = definition.completeness
    if rule is None:
        raise StackError(f"dataset {definition.name} has no completeness rule: compare it by `millrace lake reconcile`")
    with connection.engine.consistent_snapshot(connection):
        found = fetched(connection, _orders_query(connection.engine, definition, rule))
        orders = {row[0]: _order(row) for row in found}
        lines = _lines_query(connection.engine, definition, rule)
        for order_id, product_id, quantity in fetched(connection, lines):
            if order_id in orders:
                orders[order_id].products.append(Product(product_id, quantity))
    return orders


def _orders_query(engine: Engine, definition: Definition, rule: Completeness) -> str:
    parent, children = definition.table(rule.parent), definition.table(rule.children)
    assert parent.topic_key is not None
    assert children.topic_key is not None
    expected = f"o.{engine.quoted(rule.expected_column)}"
    return f"""
        SELECT o.{engine.quoted(parent.topic_key)}, o.customer_id, o.store_id, o.payment_method_id, m.name, m.bank,
               {expected}, DATE_FORMAT(o.`timestamp`, '%Y-%m-%dT%H:%i:%s.%fZ')
        FROM {engine.quoted(parent.name)} AS o
        JOIN (
            SELECT {engine.quoted(children.topic_key)} AS order_id, COUNT(DISTINCT product_id) AS line_count
            FROM {engine.quoted(children.name)} WHERE quantity >= 1 GROUP BY {engine.quoted(children.topic_key)}
        ) AS d ON d.order_id = o.{engine.quoted(parent.topic_key)}
        LEFT JOIN payment_method AS m ON m.id = o.payment_method_id
        WHERE {expected} >= 1 AND d.line_count >= {expected}
    """  # noqa: S608


def _lines_query(engine: Engine, definition: Definition, rule: Completeness) -> str:
    children = definition.table(rule.children)
    assert children.topic_key is not None
    key = engine.quoted(children.topic_key)
    return f"SELECT {key}, product_id, quantity FROM {engine.quoted(children.name)} WHERE quantity >= 1"  # noqa: S608


def _order(row: Sequence[Any]) -> Order:
    order_id, customer_id, store_id, payment_method_id, name, bank, num_products, ordered_at = row
    return Order(
        order_id=order_id,
        customer_id=customer_id,
        store_id=store_id,
        payment_method=PaymentMethod(payment_method_id, name, bank),
        num_products=num_products,
        products=[],
        ordered_at=ordered_at,
    )


def compare(expected: Mapping[str, Order], records: Sequence[FinalRecord], *, strict: bool = False) -> Verdict:
    """Compare the records of the topic with the complete orders of the database.

    With `strict`, also compare every field, which is valid only if no order changed after it was complete.
    """
    times = Counter(record.key for record in records)
    verdict = Verdict(
        complete=len(expected),
        records=len(records),
        distinct=len(times),
        duplicates=len(records) - len(times),
        missing=[order_id for order_id in expected if order_id not in times],
        unexpected=[key for key in times if key not in expected],
        malformed=[f"{record.key}: {record.fault}" for record in records if record.fault is not None],
        repeated=[key for key, count in times.items() if count > 1],
        strict=strict,
    )
    if strict:
        for record in records:
            wanted = expected.get(record.key)
            if wanted is not None and record.order is not None:
                fields = differences(wanted, record.order)
                if fields:
                    verdict.different.append(f"{record.key}: {', '.join(fields)}")
    return verdict


def differences(expected: Order, actual: Order) -> list[str]:
    """List the names of the fields in which two orders differ."""
    plain = ("order_id", "customer_id", "store_id", "payment_method", "num_products")
    found = [name for name in plain if getattr(expected, name) != getattr(actual, name)]
    if not _products_agree(expected, actual):
        found.append("products")
    if expected.ordered_at != actual.ordered_at and _instant(expected.ordered_at) != _instant(actual.ordered_at):
        found.append("ordered_at")
    return found


def _products_agree(expected: Order, actual: Order) -> bool:
    """Whether an order contains only expected product lines, and at least `num_products` of them.

    Expected lines may be missing from it, because lines can be added after the order is complete.
    """
    lines = {product.product_id: product.quantity for product in expected.products}
    final = {product.product_id: product.quantity for product in actual.products}
    if len(final) != len(actual.products) or not final.items() <= lines.items():
        return False
    return len(final) >= expected.num_products


def _instant(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
