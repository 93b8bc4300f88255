"""Look-ups: source rows that other services read by id, with every column as in the source."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from streams.model.change import Change

CUSTOMER: Final = "customer"
PAYMENT_METHOD: Final = "payment_method"

Columns = dict[str, Any]


class LookupEntry(Struct, gc=False):
    """A source row: kind of look-up, id, and columns (None if the row is deleted)."""

    kind: str
    id: str
    columns: Columns | None


def id_of(row: Columns) -> str:
    """Id of the row as text, which must equal the key of the row's record.

    Raises:
        ValueError: the row has no column `id`.
    """
    id_ = row.get("id")
    if not isinstance(id_, int | str):
        raise ValueError("id: is missing, or neither a number nor a text")
    return str(id_)


def customer_entry(state: Any, change: Change[Columns]) -> LookupEntry:
    """Fold of customers; it needs no state, because a topic holds the changes of a row in order."""
    return _entry(CUSTOMER, change)


def payment_method_entry(state: Any, change: Change[Columns]) -> LookupEntry:
    """Fold of payment methods; it needs no state either."""
    return _entry(PAYMENT_METHOD, change)


def _entry(kind: str, change: Change[Columns]) -> LookupEntry:
    return LookupEntry(kind, change.key.decode(), None if change.deleted else change.row)
