"""Look-up entries: copies of source rows with all their columns, which other services read by id."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from streams.model.change import MAX_ID_LENGTH, Change

CUSTOMER: Final = "customer"
PAYMENT_METHOD: Final = "payment_method"

Columns = dict[str, Any]


class LookupEntry(Struct, gc=False):
    """A copy of a source row: its kind (such as `customer`), its id, and its columns (None if the row was deleted)."""

    kind: str
    id: str
    columns: Columns | None


def id_of(row: Columns) -> str:
    """Return the id of a row as text, which must equal the key of the row's record.

    Raises:
        ValueError: the column `id` is missing, neither an integer nor a string, empty, or too long.
    """
    id_ = row.get("id")
    if not isinstance(id_, int | str):
        raise ValueError("id: is missing, or neither an integer nor a string")
    text = str(id_)
    if not 1 <= len(text) <= MAX_ID_LENGTH:
        raise ValueError(f"id: must have from 1 to {MAX_ID_LENGTH} characters, not {len(text)}")
    return text


def customer_entry(state: Any, change: Change[Columns]) -> LookupEntry:
    """Return the look-up entry for a change of a customer; `state` is unused, because a row's changes are in order."""
    return _entry(CUSTOMER, change)


def payment_method_entry(state: Any, change: Change[Columns]) -> LookupEntry:
    """Return the look-up entry for a change of a payment method; `state` is unused."""
    return _entry(PAYMENT_METHOD, change)


def _entry(kind: str, change: Change[Columns]) -> LookupEntry:
    return LookupEntry(kind, change.key.decode(), None if change.deleted else change.row)
