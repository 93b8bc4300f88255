"""Prometheus metrics of the watch over a connector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ops.connector.slots import Slot
from ops.connector.source_columns import Difference
from stack.errors import StackError
from streams.model.table_read import TableRead

ReadSlot = Callable[[], Slot | None]


class Watched(Protocol):
    """The part of a watch that its metrics show."""

    @property
    def is_up(self) -> bool: ...

    @property
    def is_sweep_due(self) -> bool: ...


class WatchCollector(Collector):
    """Prometheus collector of what a watch saw last, and of the connector's slot as it is now.

    Args:
        slot: reads the slot in PostgreSQL's log; returns None if there is none.
        reads: returns the newest read of each table.
        differences: returns how the source differs from the definition.
    """

    def __init__(
        self,
        name: str,
        watch: Watched,
        slot: ReadSlot,
        reads: Callable[[], Sequence[TableRead]] = lambda: (),
        differences: Callable[[], Sequence[Difference]] = lambda: (),
    ) -> None:
        self._name = name
        self._watch = watch
        self._slot = slot
        self._reads = reads
        self._differences = differences

    def collect(self) -> Iterator[Metric]:
        """Yield whether the connector runs, whether a sweep is due, its reads, and how far the slot is behind."""
        up = GaugeMetricFamily(
            "millrace_connector_up",
            "1 if the connector and all its tasks were running at the last look, otherwise 0.",
            labels=["connector"],
        )
        up.add_metric([self._name], self._watch.is_up)
        yield up
        due = GaugeMetricFamily(
            "millrace_connector_sweep_due",
            "1 if rows may have vanished from the source since the last complete sweep, otherwise 0.",
            labels=["connector"],
        )
        due.add_metric([self._name], self._watch.is_sweep_due)
        yield due
        yield self._difference_family()
        yield from self._read_families()
        yield from self._slot_families()

    def _difference_family(self) -> Metric:
        family = GaugeMetricFamily(
            "millrace_source_differences",
            "Differences between a table of the source and the definition; a table without any is left out.",
            labels=["connector", "table"],
        )
        for table, count in sorted(Counter(each.table for each in self._differences()).items()):
            family.add_metric([self._name, table], count)
        return family

    def _read_families(self) -> Iterator[Metric]:
        rows = GaugeMetricFamily(
            "millrace_snapshot_rows",
            "Records in a table's topic since its newest snapshot or incremental read began.",
            labels=["connector", "table"],
        )
        estimated = GaugeMetricFamily(
            "millrace_snapshot_estimated_rows",
            "Rows of the table when that began, by the source's statistics.",
            labels=["connector", "table"],
        )
        reading = GaugeMetricFamily(
            "millrace_snapshot_under_way", "1 while the table is read, otherwise 0.", labels=["connector", "table"]
        )
        for read in self._reads():
            labels = [self._name, read.table]
            rows.add_metric(labels, read.rows)
            reading.add_metric(labels, read.is_under_way)
            if read.estimated is not None:
                estimated.add_metric(labels, read.estimated)
        return iter((rows, estimated, reading))

    def _slot_families(self) -> Iterator[Metric]:
        """Yield nothing while the database does not answer: 0 would look like a reader that has kept up."""
        try:
            slot = self._slot()
        except StackError:
            return
        if slot is None:
            return
        lag, kept = (
            "Bytes of the source's log that the connector has not confirmed.",
            "Bytes of its log that the source keeps.",
        )
        for name, help, value in (
            ("millrace_slot_lag_bytes", lag, slot.lag_bytes),
            ("millrace_slot_kept_bytes", kept, slot.kept_bytes),
        ):
            family = GaugeMetricFamily(name, help, labels=["connector"])
            if value is not None:
                family.add_metric([self._name], value)
            yield family
