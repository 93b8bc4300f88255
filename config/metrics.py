"""Find contradictions in what a dataset definition says of the live figures; each is reported as "key path: fault"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import structs

from config.definition import LogicalType, Table
from config.definition_metrics import CountryFigures, ItemFigures, Metrics, OrderFigures

_TYPES = {
    "placed_at": {LogicalType.TIMESTAMP},
    "total": {LogicalType.DECIMAL, LogicalType.INTEGER, LogicalType.BIGINT},
    "quantity": {LogicalType.INTEGER, LogicalType.BIGINT},
}


def metrics_faults(tables: Sequence[Table], metrics: Metrics) -> Iterator[str]:
    """List the contradictions in the live figures of a definition, each as "key path: fault"."""
    for place in ("orders", "customers", "items"):
        part = getattr(metrics, place)
        if part is not None:
            yield from (f"metrics.{place}.{fault}" for fault in _part_faults(tables, part))
    if metrics.alerts.high_value is not None and (metrics.orders is None or metrics.orders.total is None):
        yield "metrics.alerts.high_value: needs metrics.orders.total"
    if metrics.alerts.bulk is not None and metrics.items is None:
        yield "metrics.alerts.bulk: needs metrics.items"


def _part_faults(tables: Sequence[Table], part: OrderFigures | CountryFigures | ItemFigures) -> Iterator[str]:
    table = next((table for table in tables if table.name == part.table), None)
    if table is None:
        yield f"table: table {part.table!r} does not exist"
        return
    types = {column.name: column.type for column in table.columns}
    for field, name in structs.asdict(part).items():
        if field == "table" or name is None:
            continue
        if name not in types:
            yield f"{field}: column {name!r} does not exist"
        elif field in _TYPES and types[name] not in _TYPES[field]:
            yield f"{field}: column {name!r} is of type {types[name]}"
