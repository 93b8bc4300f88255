"""Goal: a flood of requests for large pages leaves most of the event loop to the turns.

Method: pages that take a given time, by a clock of the test, and a loop whose pauses are recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from streams.runtime import pace
from streams.runtime.pace import REST, Pace


class Clock:
    """A performance counter that a page moves on."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


async def test_each_page_is_followed_by_a_pause_in_proportion_and_none_is_built_in_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[tuple[float, Callable[[], Any]]] = []
    monkeypatch.setattr(
        asyncio.get_running_loop(), "call_later", lambda seconds, release: pauses.append((seconds, release))
    )
    built: list[int] = []

    def page(number: int) -> int:
        clock.now += 0.03
        built.append(number)
        return number

    shared = Pace()
    requests = [asyncio.create_task(shared.build(lambda number=number: page(number))) for number in range(3)]  # type: ignore[misc]
    for count in (1, 2, 3):
        for _ in range(10):
            await asyncio.sleep(0)
        assert (len(built), len(pauses)) == (count, count)
        seconds, release = pauses[-1]
        assert seconds == pytest.approx(0.03 * REST)
        release()
    assert await asyncio.gather(*requests) == [0, 1, 2]


async def test_a_page_that_fails_lets_the_next_one_be_built() -> None:
    shared = Pace()
    with pytest.raises(ZeroDivisionError):
        await shared.build(lambda: 1 // 0)
    assert await asyncio.wait_for(shared.build(lambda: "next"), 20) == "next"
