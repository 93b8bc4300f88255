"""Metrics of data waiting to be archived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_GAUGES: Final = {
    "records": "Records waiting to be archived.",
    "bytes": "Bytes waiting to be archived.",
    "seconds": "Seconds that the oldest waiting record has waited to be archived.",
}


class WaitingCollector(Collector):
    """Gauges of the data waiting to be archived, by topic partition.

    Args:
        waiting: returns the waiting amounts, keyed by topic partition, then by unit.
    """

    def __init__(self, waiting: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        """Yield one metric family per unit."""
        waiting = self._waiting()
        for unit, help_text in _GAUGES.items():
            family = GaugeMetricFamily(f"millrace_archive_waiting_{unit}", help_text, labels=["partition"])
            for partition, amounts in waiting.items():
                family.add_metric([partition], amounts[unit])
            yield family
