"""Limit how often a library logs the same message, so that an outage does not fill the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

LINES_PER_PERIOD: Final = 5
PERIOD_S: Final = 60.0
MOST_MESSAGES: Final = 1_000
"""Number of different messages to remember; all are forgotten when there are more."""


class RepetitionLimit(logging.Filter):
    """A filter that passes a few lines of each message per period, whatever values are filled in.

    The first line of a message's next period says how many lines were left out.

    Args:
        clock: function that returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._periods: dict[tuple[str, str], tuple[float, int]] = {}  # start, lines so far

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be logged."""
        if len(self._periods) > MOST_MESSAGES:
            self._periods.clear()
        message, now = (record.name, str(record.msg)), self._clock()
        began, lines = self._periods.get(message, (now, 0))
        if now - began < PERIOD_S:
            self._periods[message] = (began, lines + 1)
            return lines < LINES_PER_PERIOD
        self._periods[message] = (now, 1)
        if lines > LINES_PER_PERIOD:
            record.msg = f"{record.getMessage()} ({lines - LINES_PER_PERIOD} more such lines in {now - began:.0f} s)"
            record.args = ()
        return True


def limit_repetitions(library: str) -> None:
    """Limit the loggers of a library, as far as it was imported; filters are not inherited, so each one gets it."""
    limit = RepetitionLimit()
    for name in [library, *logging.root.manager.loggerDict]:
        if name == library or name.startswith(f"{library}."):
            logging.getLogger(name).addFilter(limit)
