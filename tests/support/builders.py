"""Build input for the code under test: Debezium change events as bytes, and decoded changes.

Every builder has defaults for the values that a test does not care about. By default, all positions are byte positions
in the same binlog file, so a later change has a larger number.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from streams.model.change import Change
from streams.model.order import OrderColumns, OrderDetailColumns
from streams.model.position import SNAPSHOT_ROW, Position, with_epoch

Row = dict[str, Any]

BINLOG_FILE: Final = 3
COMMITTED_MS: Final = 1_767_323_045_000
"""Default commit time of a change in the source, in milliseconds since 1970."""
ORDERED_AT: Final = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def position(pos: int, *, row: int = 0, file: int = BINLOG_FILE, epoch: int = 0) -> Position:
    """Build the position of a change in the source's binlog."""
    return (epoch, file, pos, row)


# -- rows -------------------------------------------------------------------------------------------------------------


def order_row(order_id: str = "order-1", /, **columns: Any) -> Row:
    """Build a row of `orders` as it appears in a change event; `columns` override or extend the defaults."""
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
    """Build a row of `order_details` as it appears in a change event."""
    return {"order_id": order_id, "product_id": product_id, "quantity": quantity} | columns


def payment_method_row(id_: int = 3, name: str | None = "Visa", bank: str | None = "First Bank") -> Row:
    """Build a row of `payment_method` as it appears in a change event."""
    return {"id": id_, "name": name, "bank": bank}


# -- envelopes --------------------------------------------------------------------------------------------------------


def created(row: Row, at: Position | None = None, **options: Any) -> bytes:
    """Build the value of a change event for an insert."""
    return envelope("c", after=row, at=at, **options)


def updated(before: Row, after: Row, at: Position | None = None, **options: Any) -> bytes:
    """Build the value of a change event for an update."""
    return envelope("u", before=before, after=after, at=at, **options)


def deleted(row: Row, at: Position | None = None, **options: Any) -> bytes:
    """Build the value of a change event for a delete."""
    return envelope("d", before=row, at=at, **options)


def snapshot_read(row: Row, at: Position | None = None, **options: Any) -> bytes:
    """Build the value of a change event for a row that was read by a snapshot."""
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
    """Build the value of a change event; `wrapped` adds its schema, as the JSON converter does by default."""
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
    """Build the fields of a change event, for tests that modify them before encoding."""
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
    """Build the `source` block that Debezium's MySQL and MariaDB connectors write."""
    epoch, file, pos, row = at
    return {
        "version": "3.5.0.Final",
        "connector": "mariadb",
        "name": with_epoch("project_db", epoch),
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
    """Wrap a payload together with a schema, as Kafka Connect's JSON converter does."""
    schema = {"type": "struct", "name": "project_db.orders.Envelope", "optional": False, "fields": [{"field": "op"}]}
    return {"schema": schema, "payload": fields}


def as_json(value: Any) -> bytes:
    """Encode a value as compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


# -- decoded changes --------------------------------------------------------------------------------------------------


def order_change(at: int | Position, order_id: str = "order-1", **columns: Any) -> Change[OrderColumns]:
    """Build a decoded change of an `orders` row; `deleted=True` makes it a delete, `at_ms` sets its commit time."""
    is_deleted, at_ms = columns.pop("deleted", False), columns.pop("at_ms", COMMITTED_MS)
    row = order_row(order_id, timestamp=ORDERED_AT) | columns
    return Change(order_id.encode(), OrderColumns(**row), is_deleted, _place(at), at_ms)


def detail_change(
    at: int | Position, order_id: str = "order-1", product_id: int = 101, **columns: Any
) -> Change[OrderDetailColumns]:
    """Build a decoded change of an `order_details` row, with the same options as `order_change`."""
    is_deleted, at_ms = columns.pop("deleted", False), columns.pop("at_ms", COMMITTED_MS)
    row = detail_row(order_id, product_id) | columns
    return Change(order_id.encode(), OrderDetailColumns(**row), is_deleted, _place(at), at_ms)


def read_at(pos: int) -> Position:
    """Build the position of a row read by a snapshot at `pos`; it sorts before every change logged at `pos`."""
    return position(pos, row=SNAPSHOT_ROW)


def _place(at: int | Position) -> Position:
    return position(at) if isinstance(at, int) else at
