"""Prometheus metrics of the records that are waiting to be archived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_GAUGES: Final = {
    "records": "Records waiting to be archived.",
    "bytes": "Bytes waiting to be archived.",
    "seconds": "Seconds that the oldest record has been waiting to be archived.",
}


class WaitingCollector(Collector):
    """Prometheus collector of the amount of data waiting to be archived, by topic partition.

    Args:
        waiting: function that returns the waiting amounts, keyed by topic partition and then by unit.
    """

    def __init__(self, waiting: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        """Yield one gauge per unit (records, bytes, seconds), labelled by partition."""
        waiting = self._waiting()
        for unit, help_text in _GAUGES.items():
            family = GaugeMetricFamily(f"millrace_archive_waiting_{unit}", help_text, labels=["partition"])
            for partition, amounts in waiting.items():
                family.add_metric([partition], amounts[unit])
            yield family
