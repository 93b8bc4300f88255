"""Build input for the code under test: envelopes as the bytes that Debezium emits, and decoded changes.

Every builder has defaults for values that a test does not care about. A position is the byte position in a single
binlog file, unless a test says more: later is larger.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from streams.model.change import Change
from streams.model.order import OrderColumns, OrderDetailColumns
from streams.model.position import SNAPSHOT_ROW, Position

Row = dict[str, Any]

BINLOG_FILE: Final = 3
COMMITTED_MS: Final = 1_767_323_045_000
"""When the source committed a change, unless a test says more; milliseconds since 1970."""
ORDERED_AT: Final = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def position(pos: int, *, row: int = 0, file: int = BINLOG_FILE, epoch: int = 0) -> Position:
    """A place in the source's log."""
    return (epoch, file, pos, row)


# -- rows -------------------------------------------------------------------------------------------------------------


def order_row(order_id: str = "order-1", /, **columns: Any) -> Row:
    """A row of `orders` as an envelope has it; `columns` replace defaults and may be anything."""
    row: Row = {
        "id": order_id,
        "customer_id": 11,
        "store_id": 22,
        "payment_method_id": 3,
        "num_products": 2,
        "timestamp": "2026-01-02T03:04:05.000006Z",
    }
    return row | columns


def detail_row(order_id: str = "order-1", product_id: int = 101, quantity: int = 1, **columns: Any) -> Row:
    """A row of `order_details` as an envelope has it."""
    return {"order_id": order_id, "product_id": product_id, "quantity": quantity} | columns


def payment_method_row(id_: int = 3, name: str | None = "Visa", bank: str | None = "First Bank") -> Row:
    """A row of `payment_method` as an envelope has it."""
    return {"id": id_, "name": name, "bank": bank}


# -- envelopes --------------------------------------------------------------------------------------------------------


def created(row: Row, at: Position | None = None, **options: Any) -> bytes:
    """Envelope of an insert."""
    return envelope("c", after=row, at=at, **options)


def updated(before: Row, after: Row, at: Position | None = None, **options: Any) -> bytes:
    """Envelope of an update."""
    return envelope("u", before=before, after=after, at=at, **options)


def deleted(row: Row, at: Position | None = None, **options: Any) -> bytes:
    """Envelope of a delete."""
    return envelope("d", before=row, at=at, **options)


def snapshot_read(row: Row, at: Position | None = None, **options: Any) -> bytes:
    """Envelope of a row that a snapshot read; its source says row 0, as Debezium's do."""
    return envelope("r", after=row, at=at, **options)


def envelope(
    op: str,
    *,
    before: Row | None = None,
    after: Row | None = None,
    at: Position | None = None,
    at_ms: int = COMMITTED_MS,
    wrapped: bool = False,
) -> bytes:
    """A change event's value; `wrapped` puts it beside its schema, as the JSON converter does by default."""
    fields = payload(op, before=before, after=after, at=at, at_ms=at_ms)
    return as_json(wrap(fields) if wrapped else fields)


def payload(
    op: str,
    *,
    before: Row | None = None,
    after: Row | None = None,
    at: Position | None = None,
    at_ms: int = COMMITTED_MS,
) -> dict[str, Any]:
    """A change event's fields, for tests that bend them."""
    return {
        "before": before,
        "after": after,
        "source": source(position(1_000) if at is None else at, snapshot="true" if op == "r" else "false", at_ms=at_ms),
        "transaction": None,
        "op": op,
        "ts_ms": 1_767_323_045_100,
        "ts_us": 1_767_323_045_100_200,
        "ts_ns": 1_767_323_045_100_200_300,
    }


def source(at: Position, *, snapshot: str = "false", at_ms: int = COMMITTED_MS) -> dict[str, Any]:
    """The `source` block of Debezium's MySQL and MariaDB connectors."""
    _, file, pos, row = at
    return {
        "version": "3.5.0.Final",
        "connector": "mariadb",
        "name": "project_db",
        "ts_ms": at_ms,
        "snapshot": snapshot,
        "db": "project_db",
        "sequence": None,
        "table": "orders",
        "server_id": 1,
        "gtid": "0-1-42",
        "file": f"mysql-bin.{file:06}",
        "pos": pos,
        "row": max(row, 0),
        "thread": 7,
        "query": None,
    }


def wrap(fields: dict[str, Any] | None) -> dict[str, Any]:
    """The converter's wrapper around a payload."""
    schema = {"type": "struct", "name": "project_db.orders.Envelope", "optional": False, "fields": [{"field": "op"}]}
    return {"schema": schema, "payload": fields}


def as_json(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


# -- decoded changes --------------------------------------------------------------------------------------------------


def order_change(at: int | Position, order_id: str = "order-1", **columns: Any) -> Change[OrderColumns]:
    """A change of an order's row; `deleted=True` for a delete, `at_ms` for the source's time."""
    is_deleted, at_ms = columns.pop("deleted", False), columns.pop("at_ms", COMMITTED_MS)
    row = order_row(order_id, timestamp=ORDERED_AT) | columns
    return Change(order_id.encode(), OrderColumns(**row), is_deleted, _place(at), at_ms)


def detail_change(
    at: int | Position, order_id: str = "order-1", product_id: int = 101, **columns: Any
) -> Change[OrderDetailColumns]:
    """A change of a product line; `deleted=True` for a delete, `at_ms` for the source's time."""
    is_deleted, at_ms = columns.pop("deleted", False), columns.pop("at_ms", COMMITTED_MS)
    row = detail_row(order_id, product_id) | columns
    return Change(order_id.encode(), OrderDetailColumns(**row), is_deleted, _place(at), at_ms)


def read_at(pos: int) -> Position:
    """The position of a row that a snapshot read at `pos`: before every row logged there."""
    return position(pos, row=SNAPSHOT_ROW)


def _place(at: int | Position) -> Position:
    return position(at) if isinstance(at, int) else at
