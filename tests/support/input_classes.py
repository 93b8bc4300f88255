"""Equivalence classes of source records: one example of each class, and whether it becomes a dead letter.

Each example is a function that takes an order id and returns the value of a record with this order id as its key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.support.builders import as_json, created, detail_row, order_row, payload, position, source, wrap

PLACEHOLDER: Final = "__debezium_unavailable_value"
HOSTILE: Final = "../../etc/passwd`'\";DROP TABLE orders;--\r\n[forged] \x1b[2J\x1b[31m\u202e\u2028 ☃"
METHOD: Final = 1
"""Id of an existing payment method; workers would wait for an unknown one."""


def good(id_: str, **columns: Any) -> dict[str, Any]:
    """Build the row of an order that needs only one line item to be complete."""
    return order_row(id_, **{"num_products": 1, "payment_method_id": METHOD, **columns})


def bent(id_: str, **fields: Any) -> bytes:
    """Build an insert of an order with additional or changed top-level fields."""
    return as_json(payload("c", after=good(id_)) | fields)


def lacking(id_: str, name: str) -> bytes:
    """Build an insert of an order that lacks a top-level field or a column."""
    fields = payload("c", after=good(id_))
    del (fields if name in fields else fields["after"])[name]
    return as_json(fields)


def sourced(id_: str, **fields: Any) -> bytes:
    """Build an insert of an order whose `source` has additional or changed fields."""
    wire = payload("c", after=good(id_))
    return as_json(wire | {"source": wire["source"] | fields})


def column(id_: str, name: str, raw: bytes) -> bytes:
    """Build an insert of an order whose column `name` contains the given raw JSON."""
    return created(good(id_, **{name: "HERE"})).replace(b'"HERE"', raw)


def line_column(id_: str, name: str, raw: bytes) -> bytes:
    """Build an insert of a product line whose column `name` contains the given raw JSON."""
    return created(detail_row(id_) | {name: "HERE"}).replace(b'"HERE"', raw)


# Inputs that become dead letters: name of the class → function that returns the value, and a word of the reason.
DEAD: Final[dict[str, tuple[Callable[[str], bytes], str]]] = {
    "no JSON": (lambda id_: b"<order/>", "JSON"),
    "truncated": (lambda id_: created(good(id_))[:-40], "truncated"),
    "no UTF-8": (lambda id_: created(good(id_)).replace(id_.encode(), b"\xff\xfe"), "utf-8"),
    "empty": (lambda id_: b"", "truncated"),
    "no object": (lambda id_: b"[]", "object"),
    "10 MB of rubbish": (lambda id_: b"x" * 10_000_000, "JSON"),
    "nested 100,000 deep": (lambda id_: column(id_, "note", b"[" * 100_000 + b"]" * 100_000), "recursion"),
    "unknown op": (lambda id_: bent(id_, op="x"), "op"),
    "missing op": (lambda id_: lacking(id_, "op"), "op"),
    "missing after": (lambda id_: lacking(id_, "after"), "after"),
    "missing source": (lambda id_: lacking(id_, "source"), "source"),
    "wrong type": (lambda id_: column(id_, "num_products", b'"one"'), "num_products"),
    "NaN": (lambda id_: column(id_, "num_products", b"NaN"), "JSON"),
    "null amount": (lambda id_: column(id_, "num_products", b"null"), "num_products"),
    "zero amount": (lambda id_: column(id_, "num_products", b"0"), "num_products"),
    "negative amount": (lambda id_: column(id_, "num_products", b"-1"), "num_products"),
    "huge amount": (lambda id_: column(id_, "num_products", b"9" * 30), "num_products"),
    "10,000 digits": (lambda id_: column(id_, "num_products", b"9" * 10_000), "num_products"),
    "dropped required column": (lambda id_: lacking(id_, "store_id"), "store_id"),
    "truncate": (lambda id_: as_json({"op": "t", "source": source(position(1))}), "'t'"),
    "heartbeat": (lambda id_: as_json({"ts_ms": 1_767_323_045_000}), "op"),
    "transaction begins": (lambda id_: as_json(wrap({"status": "BEGIN", "id": "1", "ts_ms": 1})), "op"),
    "transaction ends": (lambda id_: as_json({"status": "END", "id": "1", "event_count": 2}), "op"),
    "time in microseconds": (lambda id_: column(id_, "timestamp", b"1767323045000006"), "timestamp"),
    "time in milliseconds": (lambda id_: column(id_, "timestamp", b"1767323045123"), "timestamp"),
    "date": (lambda id_: column(id_, "timestamp", b'"2026-01-02"'), "timestamp"),
    "zero date": (lambda id_: column(id_, "timestamp", b'"0000-00-00 00:00:00"'), "timestamp"),
    "leap second": (lambda id_: column(id_, "timestamp", b'"2016-12-31T23:59:60Z"'), "timestamp"),
    "instant before year 1": (lambda id_: column(id_, "timestamp", b'"0001-01-01T00:00:00+02:00"'), "timestamp"),
    "placeholder": (lambda id_: column(id_, "timestamp", f'"{PLACEHOLDER}"'.encode()), "timestamp"),
    "key of another row": (lambda id_: created(good("another")), "key"),
    "quoted hostile text": (lambda id_: bent(id_, op=HOSTILE), "op"),
    "source time out of range": (lambda id_: sourced(id_, ts_ms=9 * 10**18), "ts_ms"),
    "source time before 1970": (lambda id_: sourced(id_, ts_ms=-1), "ts_ms"),
    "id of 256 characters": (lambda id_: created(good("k" * 256)), "length"),
    "empty id": (lambda id_: created(good("")), "length"),
}

DEAD_LINES: Final[dict[str, tuple[Callable[[str], bytes], str]]] = {
    "zero quantity": (lambda id_: line_column(id_, "quantity", b"0"), "quantity"),
    "negative quantity": (lambda id_: line_column(id_, "quantity", b"-3"), "quantity"),
    "quantity of 20 digits": (lambda id_: line_column(id_, "quantity", b"9" * 20), "quantity"),
    "null product": (lambda id_: line_column(id_, "product_id", b"null"), "product_id"),
    "NaN quantity": (lambda id_: line_column(id_, "quantity", b"NaN"), "JSON"),
}

# Inputs that are processed normally: name of the class → function that returns the value.
READ: Final[dict[str, Callable[[str], bytes]]] = {
    "bare": lambda id_: created(good(id_)),
    "with its schema": lambda id_: created(good(id_), wrapped=True),
    "unknown field": lambda id_: bent(id_, hyper={"new": [1, {"a": None}]}),
    "new column": lambda id_: created(good(id_, gift_note="☃", weight=1.5)),
    "huge number in a new column": lambda id_: column(id_, "note", b"9" * 10_000),
    "before null in an update": lambda id_: as_json(payload("u", before=None, after=good(id_))),
    "no before in an update": lambda id_: as_json(
        {k: v for k, v in payload("u", after=good(id_)).items() if k != "before"}
    ),
    "snapshot read": lambda id_: as_json(payload("r", after=good(id_))),
    "time in a zone": lambda id_: created(good(id_, timestamp="2026-01-02T05:04:05.000006+02:00")),
    "time without a zone": lambda id_: created(good(id_, timestamp="2026-01-02 03:04:05.000006")),
    "10 MB in a column that nobody reads": lambda id_: created(good(id_, note="x" * 10_000_000)),
}
