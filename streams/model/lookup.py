"""Look-ups: what other services find of a source row, by its id; every column as the source has it."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from streams.model.change import Change

CUSTOMER: Final = "customer"
PAYMENT_METHOD: Final = "payment_method"

Columns = dict[str, Any]


class LookupEntry(Struct, gc=False):
    """A row that was read: its kind, its id, its columns (None: deleted)."""

    kind: str
    id: str
    columns: Columns | None


def id_of(row: Columns) -> str:
    """The row's id as a record key has it.

    Raises:
        ValueError: the row has no column `id`.
    """
    id_ = row.get("id")
    if not isinstance(id_, int | str):
        raise ValueError("id: is missing, or no number or text")
    return str(id_)


def customer_entry(state: Any, change: Change[Columns]) -> LookupEntry:
    """The fold of customers, which needs no state: a topic has the changes of a row in their order."""
    return _entry(CUSTOMER, change)


def payment_method_entry(state: Any, change: Change[Columns]) -> LookupEntry:
    """The fold of payment methods."""
    return _entry(PAYMENT_METHOD, change)


def _entry(kind: str, change: Change[Columns]) -> LookupEntry:
    return LookupEntry(kind, change.key.decode(), None if change.deleted else change.row)
