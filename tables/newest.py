"""The newest change that a sink has stored: how far its content is behind the source when changes come all the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class NewestChange(Collector):
    """The time of the newest change, by the source's clock; unknown until a change was stored.

    It grows old while the source is quiet as well: the consumer lag says which of the two it is.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._newest_ms = 0

    def note(self, times_ms: Iterable[int]) -> None:
        """Take note of changes that were stored, by their times in milliseconds since 1970."""
        self._newest_ms = max(self._newest_ms, max(times_ms, default=0))

    @property
    def age_s(self) -> float | None:
        """Seconds since the newest change was committed in the source; None if none was stored yet."""
        return max(0.0, self._clock() - self._newest_ms / 1000) if self._newest_ms else None

    def figures(self) -> dict[str, dict[str, float | None]]:
        """Return the age for `/stats/`."""
        return {"newest_change": {"age_s": self.age_s}}

    def collect(self) -> Iterator[Metric]:
        """Yield the age for `/metrics`, once it is known."""
        if self.age_s is not None:
            help = "Seconds since the newest stored change was committed in the source."
            yield GaugeMetricFamily("millrace_newest_change_age_seconds", help, value=self.age_s)
