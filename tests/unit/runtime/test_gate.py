"""`Gate`: a few turns at a time, the oldest change first, and no turn holds the others up for long."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import pytest

from streams.runtime.partition.gate import Gate

Turn = Callable[..., Awaitable[None]]


class Turns:
    """Turns that end when they are told to.

    Attributes:
        admitted: names of the turns in the order of their admission.
    """

    def __init__(self, gate: Gate) -> None:
        self.admitted: list[str] = []
        self._gate = gate
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, oldest_ms: float = 0.0) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._turn(name, oldest_ms))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _turn(self, name: str, oldest_ms: float) -> None:
        async with self._gate.admitted(lambda: oldest_ms):
            self.admitted.append(name)
            await self._ends[name].wait()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await asyncio.wait({self._tasks[name]})
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.wait({self._tasks[name]})


async def test_the_oldest_change_is_next() -> None:
    turns = Turns(Gate(limit=2, slot_s=60))
    for name, oldest_ms in {"a": 5, "b": 6, "young": 9, "old": 7, "middle": 8}.items():
        await turns.come(name, oldest_ms)
    assert turns.admitted == ["a", "b"]
    for name in ("b", "a", "old"):
        await turns.end(name)
    assert turns.admitted == ["a", "b", "old", "middle", "young"]


async def test_a_turn_that_hangs_holds_nobody_up() -> None:
    gate = Gate(limit=1, slot_s=0.01)
    turns = Turns(gate)
    await turns.come("hangs")
    await turns.come("waits")
    while turns.admitted != ["hangs", "waits"]:  # noqa: ASYNC110 - the gate has no event for it
        await asyncio.sleep(0.001)
    await turns.end("hangs")
    await turns.end("waits")
    assert gate.under_way == 0


async def test_a_turn_that_is_cancelled_while_it_waits_leaves_no_trace() -> None:
    gate = Gate(limit=1, slot_s=60)
    turns = Turns(gate)
    for name in ("first", "cancelled", "last"):
        await turns.come(name)
    await turns.cancel("cancelled")
    await turns.end("first")
    assert turns.admitted == ["first", "last"]
    await turns.end("last")
    assert gate.under_way == 0


async def test_a_turn_that_is_cancelled_as_it_is_admitted_gives_the_slot_back() -> None:
    gate = Gate(limit=1, slot_s=60)
    turns = Turns(gate)
    for name in ("first", "cancelled", "last"):
        await turns.come(name)
    turns._ends["first"].set()
    while len(gate._waiting) == 2:  # noqa: ASYNC110 - until the slot has been handed to the second turn
        await asyncio.sleep(0)
    await turns.cancel("cancelled")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert turns.admitted[-1] == "last"
    await turns.end("last")
    assert gate.under_way == 0


async def test_a_turn_that_fails_gives_the_slot_back() -> None:
    gate = Gate(limit=1)
    with pytest.raises(ValueError, match="fails"):
        async with gate.admitted(lambda: 0.0):
            raise ValueError("fails")
    assert gate.under_way == 0


async def test_a_pipeline_without_a_limit_admits_everybody() -> None:
    turns = Turns(Gate(math.inf))
    for number in range(50):
        await turns.come(str(number))
    assert len(turns.admitted) == 50
    for number in range(50):
        await turns.end(str(number))
