"""The batch service: repeats runs at an interval until a signal stops it (`millrace lake run --every 10s`)."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from batch.console.output import Say
from batch.errors import BatchError, SparkEndedError
from batch.pipeline.runner import Outcome

log = logging.getLogger(__name__)

PAUSE_S_MAX: Final = 300.0


def serve(run: Callable[[], Outcome], *, every_s: float, stop: threading.Event, say: Say) -> None:
    """Start a run every `every_s` seconds until `stop` is set; a run in progress is finished first.

    Each consecutive run that fails as a whole doubles the pause before the next one, up to `PAUSE_S_MAX`. A table that
    fails does not: the other tables stay as fresh as the interval promises.

    Raises:
        SparkEndedError: Spark's Java process has ended, so no further run can succeed in this process.
    """
    failures = 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            run()
            failures = 0
        except BatchError as error:
            if stop.is_set():
                break
            if isinstance(error, SparkEndedError):
                raise
            failures += 1
            say(str(error))
            log.exception("the run failed")
        stop.wait(pause_s(every_s, failures=failures, took_s=time.monotonic() - began))


def pause_s(every_s: float, *, failures: int, took_s: float) -> float:
    """Return the pause before the next run, in seconds; it doubles with each consecutive run that failed."""
    if not failures:
        return max(0.0, every_s - took_s)
    return float(max(every_s, min(every_s * 2 ** min(failures, 16), PAUSE_S_MAX)))


def stopped_by_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set, instead of ending the process.

    If the event is already set, SIGINT raises KeyboardInterrupt.
    """
    stop = threading.Event()

    def end(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return stop


def interrupted_by_termination() -> None:
    """Make SIGTERM raise KeyboardInterrupt, as SIGINT does, so that an interrupted run still releases its lease."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
