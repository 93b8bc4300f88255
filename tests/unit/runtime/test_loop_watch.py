"""`LoopWatch`: how long the event loop is held is counted, and a standstill ends the worker with the place named."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator

import pytest

from streams.runtime.faust.loop_watch import EXIT_CODE, LoopWatch
from streams.runtime.stats import RuntimeStats
from tests.support.async_waiting import LIVENESS_S, until

LOOK_S = 0.05


class Ends:
    """Receives the exit code instead of the operating system."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.came = threading.Event()

    def __call__(self, code: int) -> None:
        self.code = code
        self.came.set()


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def stats() -> RuntimeStats:
    return RuntimeStats()


@pytest.fixture
async def watch(stats: RuntimeStats, ends: Ends) -> AsyncIterator[LoopWatch]:
    watch = LoopWatch(stats, looks=5, look_s=LOOK_S, end=ends)
    await watch.start()
    yield watch
    await watch.stop()


def hold_the_loop(until_set: threading.Event) -> bool:
    return until_set.wait(LIVENESS_S)


async def test_a_standstill_ends_the_worker_and_names_the_place(
    watch: LoopWatch, ends: Ends, stats: RuntimeStats, caplog: pytest.LogCaptureFixture
) -> None:
    await until(lambda: stats.loop_seconds.counts != [0] * len(stats.loop_seconds.counts))
    with caplog.at_level(logging.CRITICAL):
        assert hold_the_loop(ends.came)
    assert ends.code == EXIT_CODE
    assert "hold_the_loop" in caplog.text


async def test_a_loop_that_is_held_again_and_again_goes_on(watch: LoopWatch, ends: Ends, stats: RuntimeStats) -> None:
    for _ in range(6):
        time.sleep(2 * LOOK_S)  # noqa: ASYNC251 - holding the loop is the point
        await asyncio.sleep(0.03)
    assert ends.code is None
    assert stats.loop_seconds.total >= 6 * LOOK_S


async def test_a_worker_that_has_stopped_is_not_ended(stats: RuntimeStats, ends: Ends) -> None:
    watch = LoopWatch(stats, looks=2, look_s=LOOK_S, end=ends)
    await watch.start()
    await watch.stop()
    assert not ends.came.wait(10 * LOOK_S)
