"""Find contradictions in what a dataset definition says of the warehouse; each is reported as "key path: fault"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from config.definition import LogicalType, Table, WarehouseTable

OWN_TABLES: Final = frozenset({"stream_offsets", "dlq_events", "erased_rows"})
"""Tables that the warehouse has in each schema for itself."""

OWN_COLUMNS: Final = {
    "dimension": ("first_seen_at", "last_seen_at", "is_deleted", "source_lsn", "source_position"),
    "fact": ("event_time", "is_deleted", "source_lsn", "source_position"),
}
"""Columns that the warehouse adds to those of the source, by the kind of table."""

NOT_KEPT: Final = frozenset({LogicalType.TIME, LogicalType.INTERVAL, LogicalType.BINARY, LogicalType.ARRAY})
"""Types of which the warehouse has no columns."""

LONGEST_NAME: Final = 63
"""Length of a name in PostgreSQL, which cuts longer ones."""


def warehouse_faults(tables: Sequence[Table]) -> Iterator[str]:
    """List the contradictions in the warehouse tables of a definition, each as "key path: fault"."""
    targets = Counter(table.warehouse.table for table in tables if table.warehouse is not None)
    for index, table in enumerate(tables):
        if table.warehouse is None:
            continue
        place, target = f"tables[{index}].warehouse", table.warehouse
        if target.table in OWN_TABLES:
            yield f"{place}.table: {target.table!r} is reserved"
        if targets[target.table] > 1:
            yield f"{place}.table: {target.table!r} is defined twice"
        if target.key and len(target.key) != len(table.key):
            yield f"{place}.key: must name {len(table.key)} columns, one for each of the key ({', '.join(table.key)})"
            continue
        yield from (f"{place}.{fault}" for fault in _column_faults(table, target))


def _column_faults(table: Table, target: WarehouseTable) -> Iterator[str]:
    if table.topic_key is None and len(table.key) != 1:
        yield "table: the source's key has several columns, so the table needs a topic_key"
    yield from (
        f"table: column {column.name!r} is of type {column.type}, which the warehouse does not keep: leave the column "
        "out of the definition, or the table out of the warehouse"
        for column in table.columns
        if column.type in NOT_KEPT
    )
    renamed = dict(zip(table.key, target.key, strict=True)) if target.key else {}
    names = [renamed.get(name, name) for name in table.column_names]
    names += OWN_COLUMNS[target.kind]
    yield from (f"key: column {name!r} would be there twice" for name, count in Counter(names).items() if count > 1)
    yield from (
        f"table: column {name!r} has more than {LONGEST_NAME} characters" for name in names if len(name) > LONGEST_NAME
    )
