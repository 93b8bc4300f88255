"""Metrics of data waiting to be archived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_GAUGES: Final = {
    "records": "Records that wait for their object.",
    "bytes": "Bytes that wait for their object.",
    "seconds": "For how long the oldest record has waited for its object.",
}


class WaitingCollector(Collector):
    """Gauges by topic partition.

    Args:
        waiting: returns the amounts by topic partition and unit.
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
