"""Prometheus metrics of the batch service: how fresh each table is, and what the last comparison found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from batch.pipeline.freshness import fresh_after
from batch.pipeline.job_record import Comparison
from batch.pipeline.manifest import TableRun


class LakeCollector(Collector):
    """Prometheus collector of a service; `ran` is called after each of its runs, from another thread than `collect`.

    Args:
        compared: returns the last comparison of the whole dataset with its source; None if there was none.
    """

    def __init__(
        self,
        dataset: str,
        *,
        every_s: float,
        compared: Callable[[], Comparison | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._dataset = dataset
        self._every_s = every_s
        self._compared = compared
        self._clock = clock
        self._fresh_at: dict[str, float] = {}
        self._failed = 0

    def ran(self, began_at: float, tables: Sequence[TableRun]) -> None:
        """Take in the outcome of a run that began at this Unix time."""
        self._fresh_at = fresh_after(self._fresh_at, began_at, tables)
        self._failed = sum(table.error is not None for table in tables)

    def collect(self) -> Iterator[Metric]:
        """Yield the age of each table, the interval that it is measured by, and the verdict of the last comparison."""
        yield self._gauge("millrace_lake_interval_seconds", "Interval of the service's runs.", self._every_s)
        yield self._gauge("millrace_lake_failed_tables", "Tables that failed in the last run.", self._failed)
        age = GaugeMetricFamily(
            "millrace_lake_table_age_seconds",
            "Time since the beginning of the last run that left the table up to date.",
            labels=["dataset", "layer", "table"],
        )
        for name, fresh_at in self._fresh_at.items():
            layer, _, table = name.partition("/")
            age.add_metric([self._dataset, layer, table], max(0.0, self._clock() - fresh_at))
        yield age
        comparison = self._compared()
        if comparison is not None:
            yield self._gauge(
                "millrace_lake_tables_different",
                "Tables that differed from the source when all were compared last.",
                len(comparison.different),
            )
            yield self._gauge(
                "millrace_lake_compared_time_seconds",
                "Unix time of the last comparison of all tables with the source.",
                comparison.at,
            )

    def _gauge(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        gauge = GaugeMetricFamily(name, text, labels=["dataset"])
        gauge.add_metric([self._dataset], value)
        return gauge
