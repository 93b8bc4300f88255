"""Differences between the columns that the source delivers and those of the definition, as the newest changes show."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.model.column_names import column_names
from streams.model.position import Position
from streams.model.warehouse import WarehouseTable

log = logging.getLogger(__name__)

_DO: Final = "change the definition (docs/operate/schema-drift.md)"


class _Drift(NamedTuple):
    """Columns that only one side has, of the change at a position."""

    position: Position
    unknown: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def is_any(self) -> bool:
        return bool(self.unknown or self.missing)


class ColumnDrift(Collector):
    """What the newest change of each table has more or less than the definition; each difference is logged once.

    A change with unknown columns is written without them, and one without a nullable column has NULL there: nothing
    else would tell that a column was added, dropped or renamed in the source.
    """

    def __init__(self) -> None:
        self._newest: dict[str, _Drift] = {}

    def note(self, table: WarehouseTable, value: bytes, position: Position) -> None:
        """Take note of the columns of a change, unless a newer one of the table is known."""
        known = self._newest.get(table.name)
        if known is not None and position < known.position:
            return
        names, own = column_names(value), {column.name for column in table.source.columns}
        found = _Drift(position, tuple(sorted(names - own)), tuple(sorted(own - names)))
        self._newest[table.name] = found
        if found[1:] != ((), ()) if known is None else found[1:] != known[1:]:
            _log(table.name, found)

    def figures(self) -> dict[str, Mapping[str, Any]]:
        """Return the differences for `/stats/`, by table."""
        found = {name: drift for name, drift in sorted(self._newest.items()) if drift.is_any}
        return {
            "drift": {name: {"unknown": [*each.unknown], "missing": [*each.missing]} for name, each in found.items()}
        }

    def collect(self) -> Iterator[Metric]:
        """Yield the number of different columns of each table for `/metrics`."""
        help = "Columns that the newest change of a table has more or less than the definition."
        family = GaugeMetricFamily("millrace_warehouse_drifted_columns", help, labels=["table"])
        for name, drift in sorted(self._newest.items()):
            family.add_metric([name], len(drift.unknown) + len(drift.missing))
        yield family


def _log(table: str, drift: _Drift) -> None:
    if drift.unknown:
        log.warning("%s: not written, unknown to the definition: %s; %s", table, ", ".join(drift.unknown), _DO)
    if drift.missing:
        log.warning("%s: NULL, because the source lacks them: %s; %s", table, ", ".join(drift.missing), _DO)
    if not drift.is_any:
        log.info("%s: the source has the columns of the definition again", table)
