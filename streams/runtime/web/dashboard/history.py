"""What a worker remembers of its own figures, for a quarter of an hour and for a day.

A service looks at the figures every second and evaluates the rules over them, whether anybody looks at the page or not.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.errors import KafkaError
from faust.exceptions import FaustError
from mode import Service

from streams.runtime.stats import SECONDS_BOUNDS
from streams.runtime.web.dashboard.alert_log import AlertLog
from streams.runtime.web.dashboard.rings import MINUTES, MINUTES_A_POINT, SECONDS, SECONDS_A_POINT, Ring
from streams.runtime.web.rules import Figures, Rule

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
STEP_S: Final = 10.0
STEPS: Final = 92
"""A little more than a quarter of an hour, so that there are always figures of that age."""

MINUTE_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The figures at a monotonic time, and the number of records published since the worker's start."""

    at_s: float
    figures: Figures
    published: int


@dataclass(frozen=True, kw_only=True)
class Total:
    """The totals that a day is made of: records published, and the histogram of the time until they were visible."""

    at_s: float
    published: int
    visible: tuple[int, ...]


class History(Service):
    """The service that looks, remembers and judges.

    Args:
        look: returns the present figures.
        published: returns the number of records published since the start.

    Attributes:
        alert_log: which alerts fired lately.
        seconds, minutes: what the charts show.
    """

    def __init__(
        self,
        *,
        look: Callable[[], Awaitable[Figures]],
        published: Callable[[], int],
        rules: Sequence[Rule],
        clock: Callable[[], float] = time.monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._look = look
        self._published = published
        self._rules = rules
        self._clock = clock
        self._last: Moment | None = None
        self._steps: deque[Moment] = deque(maxlen=STEPS)
        self._minutes: deque[Total] = deque(maxlen=MINUTES)
        self._since: dict[str, float] = {}
        self._found: dict[str, str] = {}
        self.alert_log = AlertLog()
        self.seconds = Ring(SECONDS, SECONDS_A_POINT)
        self.minutes = Ring(MINUTES, MINUTES_A_POINT)

    @Service.task
    async def _look_again_and_again(self) -> None:
        while not self.should_stop:
            try:
                await self.look()
            except (KafkaError, FaustError, OSError, TimeoutError) as error:  # its partitions are being taken away
                log.debug("the figures of the worker cannot be read: %r", error)
            await self.sleep(LOOK_S)

    async def look(self) -> None:
        """Look at the figures once, keep them if a step or a minute is over, and evaluate the rules."""
        figures = await self._look()
        now = self._clock()
        former, self._last = self._last, Moment(at_s=now, figures=figures, published=self._published())
        if former is not None:
            visible = _difference(figures.visible, former.figures.visible)
            self.seconds.add(_rate(former, self._last), quantile(visible, 0.99) or 0.0)
        if not self._steps or now - self._steps[-1].at_s >= STEP_S:
            self._steps.append(self._last)
        if not self._minutes or now - self._minutes[-1].at_s >= MINUTE_S:
            total = Total(at_s=now, published=self._last.published, visible=tuple(figures.visible))
            if self._minutes:
                visible = _difference(total.visible, self._minutes[-1].visible)
                self.minutes.add(_rate(self._minutes[-1], self._last), quantile(visible, 0.99) or 0.0)
            self._minutes.append(total)
        self._judge(now)
        self.alert_log.note(self.alerts(), time.time())

    # -- the rules ----------------------------------------------------------------------------------------------------

    @property
    def now(self) -> Figures:
        """The newest figures."""
        assert self._last is not None, "nothing was looked at yet"
        return self._last.figures

    def before(self, seconds: float) -> Figures | None:
        """Return the figures of that many seconds ago; None if the worker is younger."""
        limit = self._clock() - seconds
        return next((moment.figures for moment in reversed(self._steps) if moment.at_s <= limit), None)

    def _judge(self, now: float) -> None:
        for rule in self._rules:
            found = None if rule.find is None else rule.find(self)
            if found is None:
                self._since.pop(rule.name, None)
                self._found.pop(rule.name, None)
            else:
                self._since.setdefault(rule.name, now)
                self._found[rule.name] = found

    def alerts(self) -> list[dict[str, Any]]:
        """Return the rules whose condition has held for long enough: name, Unix time of its beginning, finding."""
        now, wall = self._clock(), time.time()
        lasting = [(rule, now - self._since[rule.name]) for rule in self._rules if rule.name in self._since]
        return [
            {"rule": rule.name, "since": round(wall - seconds - rule.threshold_s), "found": self._found[rule.name]}
            for rule, seconds in lasting
            if seconds >= rule.for_s
        ]

    # -- figures over time --------------------------------------------------------------------------------------------

    def rates(self) -> dict[str, float]:
        """Return the records published per second, now (10 to 20 s), in a quarter of an hour and a day.

        `records` are the source records processed per second now.
        """
        if self._last is None:
            return {"now": 0.0, "quarter_hour": 0.0, "day": 0.0, "records": 0.0}
        recent = [*self._steps][-2] if len(self._steps) > 1 else self._steps[-1]
        seconds = self._last.at_s - recent.at_s
        processed = self._last.figures.records - recent.figures.records
        return {
            "now": _rate(recent, self._last),
            "records": processed / seconds if seconds > 0 else 0.0,
            "quarter_hour": _rate(self._steps[0], self._last),
            "day": _rate(self._minutes[0], self._last),
        }

    def visible(self) -> dict[str, list[int]]:
        """Return how many outputs of the last quarter of an hour, and of the last day, took how long to be visible."""
        if self._last is None:
            empty = [0] * (len(SECONDS_BOUNDS) + 1)
            return {"quarter_hour": empty, "day": empty}
        newest = self._last.figures.visible
        # What a worker published before its first look belongs to both.
        quarter = self._steps[0].figures.visible if len(self._steps) == STEPS else None
        day = self._minutes[0].visible if len(self._minutes) == MINUTES else None
        return {"quarter_hour": _difference(newest, quarter), "day": _difference(newest, day)}

    def series(self) -> dict[str, list[float]]:
        """Return the points of the charts, oldest first.

        `rate` (records published per second) and `p99` (99th percentile of the time until they were visible, in
        seconds) are those of a quarter of an hour, `day_rate` and `day_p99` those of a day.
        """
        return {**self.seconds.points(), **{f"day_{name}": points for name, points in self.minutes.points().items()}}

    def memory(self) -> dict[str, dict[str, Any]]:
        """Return all that is remembered of both figures, for `/history`."""
        return {
            "quarter_hour": {"step_s": int(LOOK_S), **self.seconds.values()},
            "day": {"step_s": int(MINUTE_S), **self.minutes.values()},
        }


def _rate(earlier: Moment | Total, later: Moment) -> float:
    seconds = later.at_s - earlier.at_s
    return (later.published - earlier.published) / seconds if seconds > 0 else 0.0


def _difference(newest: Sequence[int], before: Sequence[int] | None) -> list[int]:
    return [*newest] if before is None else [n - b for n, b in zip(newest, before, strict=True)]


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Return the quantile of a histogram with the bounds `SECONDS_BOUNDS`, in seconds; None if it is empty."""
    rank, below = share * sum(counts), 0
    if not rank:
        return None
    lower = 0.0
    for bound, count in zip(SECONDS_BOUNDS, counts, strict=False):
        if count and below + count >= rank:
            return lower + (bound - lower) * (rank - below) / count
        below, lower = below + count, bound
    return lower
