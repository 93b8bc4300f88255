"""What a worker remembers of its speed and latency: the last 15 minutes second by second, the last day by minutes."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

SECONDS: Final = 900
MINUTES: Final = 1_440
SECONDS_A_POINT: Final = 10
MINUTES_A_POINT: Final = 15
"""Number of values behind a point of a chart: the page has fewer points than the memory has values, and stays small."""


class Ring:
    """The newest values of two figures at equal distances: records published per second, and a latency in seconds.

    Args:
        size: number of values that are kept.
        a_point: number of values that become one point of a chart.
    """

    def __init__(self, size: int, a_point: int) -> None:
        self._values: deque[tuple[float, float]] = deque(maxlen=size)
        self._a_point = a_point
        self._number = 0

    def add(self, rate: float, latency_s: float) -> None:
        """Add the newest values; the oldest ones are forgotten."""
        self._values.append((round(rate, 2), round(latency_s, 4)))
        self._number += 1

    def values(self) -> dict[str, list[float]]:
        """Return all values, oldest first."""
        return {"rate": [rate for rate, _ in self._values], "p99": [latency for _, latency in self._values]}

    def points(self) -> dict[str, list[float]]:
        """Return the average rate and the worst latency of each point, oldest first.

        A point keeps its values until it is forgotten; so a chart moves by whole points.
        """
        rates: list[float] = []
        latencies: list[float] = []
        oldest = self._number - len(self._values)
        found: dict[int, list[tuple[float, float]]] = {}
        for place, value in enumerate(self._values, oldest):
            found.setdefault(place // self._a_point, []).append(value)
        for group in found.values():
            rates.append(round(math.fsum(rate for rate, _ in group) / len(group), 1))
            latencies.append(round(max(latency for _, latency in group), 3))
        return {"rate": rates, "p99": latencies}
