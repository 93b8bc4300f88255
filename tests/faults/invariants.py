"""The invariants as pure functions over the records read: each returns the faults it found, one line each.

I1 and I2 (nothing missing, nothing twice) are in `ops.dataset.oracle`; `run.py` and `judgement.py` wait for I5 and I8.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from streams.model.order import OrderState
from tests.support.kafka import Record


class ShopOrder(NamedTuple):
    """An order row as the database has it; `ordered_at` is UTC."""

    customer_id: int
    store_id: int
    payment_method_id: int
    num_products: int
    ordered_at: datetime


class ShopRows(NamedTuple):
    """The database: order rows by id, and the quantity of each product by order id."""

    orders: Mapping[str, ShopOrder]
    lines: Mapping[str, Mapping[int, int]]


def position_regressions(history: Iterable[tuple[bytes, OrderState | None]]) -> list[str]:
    """I3: no source row of a key goes back to an older position, and none is forgotten."""
    newest: dict[bytes, dict[Any, Any]] = {}
    faults = []
    for key, state in history:
        found = {} if state is None else _positions(state)
        for row, position in newest.get(key, {}).items() if state is not None else ():
            if row not in found:
                faults.append(f"{key!r}: {row} was forgotten")
            elif found[row] < position:
                faults.append(f"{key!r}: {row} went back from {position} to {found[row]}")
        newest[key] = found
    return faults


def _positions(state: OrderState) -> dict[Any, Any]:
    found: dict[Any, Any] = {f"line {product}": line.position for product, line in state.lines.items()}
    if state.row is not None:
        found["row"] = state.row.position
    return found


def revision_faults(amended: Iterable[tuple[str, int]]) -> list[str]:
    """I3: the revisions of each order are 1, 2, 3, … in the order of the topic."""
    seen: dict[str, int] = defaultdict(int)
    faults = []
    for order_id, revision in amended:
        if revision != seen[order_id] + 1:
            faults.append(f"{order_id}: revision {revision} follows {seen[order_id]}")
        seen[order_id] = revision
    return faults


def replayed(records: Iterable[Record], *, up_to: int | None = None) -> dict[bytes, bytes]:
    """Compute the state that a changelog partition defines at its end, or at an offset."""
    content: dict[bytes, bytes] = {}
    for record in records:
        if up_to is not None and record.offset > up_to:
            break
        assert record.key is not None
        if record.value is None:
            content.pop(record.key, None)
        else:
            content[record.key] = record.value
    return content


def content_differences(what: str, found: Mapping[bytes, bytes], expected: Mapping[bytes, bytes]) -> list[str]:
    """I4: a store equals its changelog, byte for byte."""
    faults = [f"{what}: {key!r} is missing" for key in expected.keys() - found.keys()]
    faults += [f"{what}: {key!r} is extra" for key in found.keys() - expected.keys()]
    return faults + [
        f"{what}: {key!r} differs" for key in found.keys() & expected.keys() if found[key] != expected[key]
    ]


def database_differences(states: Mapping[str, OrderState], shop: ShopRows) -> list[str]:
    """I4: rows and lines of every order equal the database."""
    faults = []
    for order_id in states.keys() | shop.orders.keys() | shop.lines.keys():
        state = states.get(order_id, OrderState())
        row = None if state.row is None or state.row.deleted else _shop_order(state.row)
        if row != shop.orders.get(order_id):
            faults.append(f"{order_id}: row {row}, the database has {shop.orders.get(order_id)}")
        lines = {product: line.quantity for product, line in state.lines.items() if not line.deleted}
        if lines != shop.lines.get(order_id, {}):
            faults.append(f"{order_id}: lines {lines}, the database has {shop.lines.get(order_id, {})}")
    return faults


def _shop_order(row: Any) -> ShopOrder:
    return ShopOrder(row.customer_id, row.store_id, row.payment_method_id, row.num_products, row.ordered_at)


def truth_faults(
    final: Mapping[str, Mapping[str, Any]], amended: Mapping[str, Mapping[str, Any]], shop: ShopRows
) -> list[str]:
    """The newest record of every published order, in both topics together, equals the database."""
    faults = [f"{order_id}: amended but never published" for order_id in amended.keys() - final.keys()]
    for order_id, value in final.items():
        newest = amended.get(order_id, value)
        expected, found = _expected(order_id, shop), _published(newest)
        if expected["status"] == "deleted":
            found = {"status": found["status"]}
        if found != expected:
            faults.append(f"{order_id}: the newest record says {found}, the database {expected}")
    return faults


def _expected(order_id: str, shop: ShopRows) -> dict[str, Any]:
    order = shop.orders.get(order_id)
    if order is None:
        return {"status": "deleted"}
    lines = shop.lines.get(order_id, {})
    return {
        "status": "complete" if len(lines) >= order.num_products else "incomplete",
        "customer_id": order.customer_id,
        "store_id": order.store_id,
        "payment_method_id": order.payment_method_id,
        "num_products": order.num_products,
        "products": dict(lines),
        "ordered_at": order.ordered_at,
    }


def _published(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "status": value.get("status", "complete"),
        "customer_id": value["customer_id"],
        "store_id": value["store_id"],
        "payment_method_id": value["payment_method"]["id"],
        "num_products": value["num_products"],
        "products": {product["product_id"]: product["quantity"] for product in value["products"]},
        "ordered_at": datetime.fromisoformat(value["ordered_at"]),
    }


def dead_letter_faults(injected: Sequence[Record], dead: Iterable[Record]) -> list[str]:
    """I6: one dead letter for each time a bad record was injected, as it came and with a reason, and no other."""
    expected = Counter((record.topic, record.partition, record.offset) for record in injected)
    bad = {(record.topic, record.partition, record.offset): record for record in injected}
    found: Counter[tuple[str, int, int]] = Counter()
    faults = []
    for record in dead:
        headers = record.headers
        origin = (headers["topic"], int(headers["partition"]), int(headers["offset"]))
        found[origin] += 1
        if origin not in bad:
            faults.append(f"{origin} was not injected: {headers.get('reason')}")
        elif (record.key, record.value) != (bad[origin].key, bad[origin].value) or not headers.get("reason"):
            faults.append(f"{origin} is not as it came, or without a reason")
    wrong = [origin for origin in bad if found[origin] != expected[origin]]
    return faults + [f"{origin}: {found[origin]} dead letters, expected {expected[origin]}" for origin in wrong]


def repeats(changes: Iterable[tuple[Any, ...]]) -> int:
    """Count the changes of a source log that were repeated."""
    counts = Counter(changes)
    return sum(counts.values()) - len(counts)
