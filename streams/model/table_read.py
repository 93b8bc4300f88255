"""How far a connector is with reading the tables of its source, as its watch records it for the page `/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

READS: Final = "connector_reads:"
"""Beginning of the key in Redis that has the `ConnectorReads` of a dataset, as JSON."""

READS_DATABASE: Final = 0


class TableRead(Struct, frozen=True, kw_only=True):
    """The newest read of a table.

    Attributes:
        rows: records in the table's topic since the read began; a snapshot that was interrupted begins again. These
            are its rows, and a few more: the marks of transactions, and the changes of rows meanwhile.
        estimated: rows of the table when the read began, by the source's statistics; None if they are not known.
        is_under_way: whether the read goes on.
    """

    table: str
    rows: int
    estimated: int | None
    is_under_way: bool


class ConnectorReads(Struct, frozen=True, kw_only=True):
    """The reads of a connector's tables as of a Unix time."""

    at: float
    tables: list[TableRead]


def is_initial_snapshot(position: Mapping[str, Any]) -> bool:
    """Whether a connector with this source position, as Connect keeps it, is reading its initial snapshot."""
    kind = str(position.get("snapshot") or "").upper()
    return kind not in ("", "FALSE", "INCREMENTAL") and position.get("snapshot_completed") is not True
