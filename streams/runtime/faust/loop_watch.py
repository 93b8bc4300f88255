"""Watch over a worker's event loop: how long it is held, and the end of a worker whose loop has come to a standstill.

The consumer group does not notice such a worker, because aiokafka sends the heartbeats in a thread of its own. Its
partitions would be processed by nobody for as long as the process exists.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from mode import Service

from streams.runtime.stats import RuntimeStats

log = logging.getLogger(__name__)

TICK_S: Final = 0.02
"""Interval at which the event loop is asked to run a callback."""

STANDSTILL_LOOKS: Final = 60
LOOK_S: Final = 1.0
"""Number and interval of the looks without a single callback after which the worker ends. Looks are counted instead of
seconds, because a process that was paused, or whose machine slept, has missed both."""

EXIT_CODE: Final = 70
"""The exit code after a standstill: an internal software error (`EX_SOFTWARE`)."""

_SPEECH_S: Final = 5.0
"""Time for the last message; after it, the process ends even if the standstill is that of the log's reader."""


class LoopWatch(Service):
    """A service that measures how late callbacks run, and whose thread ends the process at a standstill.

    Args:
        end: ends the process; called with the exit code.
    """

    def __init__(
        self,
        stats: RuntimeStats,
        *,
        looks: int = STANDSTILL_LOOKS,
        look_s: float = LOOK_S,
        end: Callable[[int], Any] = os._exit,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._stats = stats
        self._looks = looks
        self._look_s = look_s
        self._end = end
        self._ticks = 0
        self._is_over = threading.Event()
        self._loop_thread = 0

    async def on_start(self) -> None:
        """Start the thread."""
        self._loop_thread = threading.get_ident()
        threading.Thread(target=self._watch, name="loop-watch", daemon=True).start()

    async def on_stop(self) -> None:
        """Stop the thread."""
        self._is_over.set()

    @Service.task
    async def _tick(self) -> None:
        while not self.should_stop:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            self._ticks += 1
            self._stats.loop_seconds.observe(max(0.0, time.monotonic() - due))

    def _watch(self) -> None:
        seen, looks = -1, 0
        while not self._is_over.wait(self._look_s):
            looks = looks + 1 if self._ticks == seen else 0
            seen = self._ticks
            if looks == self._looks:
                self._end_process()

    def _end_process(self) -> None:
        threading.Timer(_SPEECH_S, self._end, [EXIT_CODE]).start()
        log.critical(
            "the event loop has stood still for about %.0f s; ending the worker, so that others can take over its "
            "partitions. The loop is held here:\n%s",
            self._looks * self._look_s,
            _stack(sys._current_frames().get(self._loop_thread)),
        )
        self._end(EXIT_CODE)


def _stack(frame: FrameType | None) -> str:
    return "".join(traceback.format_stack(frame)) if frame is not None else "(unknown)"
