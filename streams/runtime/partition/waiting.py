"""Asyncio helpers for partitions: report crashes, stop waiting when a partition closes, delay a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from streams.runtime.state.threads import until_done

T = TypeVar("T")


def start_task(
    life: Coroutine[Any, Any, None], *, name: str, on_crash: Callable[[BaseException], None]
) -> asyncio.Task[None]:
    """Run a coroutine in a new asyncio task; call `on_crash` with the error if the task fails."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            on_crash(error)

    task = asyncio.create_task(life, name=name)
    task.add_done_callback(ended)
    return task


class ClosingError(Exception):
    """A step was cancelled because its partition is closing."""


async def unless_closing(step: Coroutine[Any, Any, T], closing: asyncio.Event) -> T:
    """Await `step` and return its result, but cancel it as soon as `closing` is set.

    Raises:
        ClosingError: `closing` was set before `step` was done.
    """
    if closing.is_set():
        step.close()
        raise ClosingError
    task = asyncio.ensure_future(step)
    ending = asyncio.ensure_future(closing.wait())
    try:
        await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClosingError
        return task.result()
    finally:
        ending.cancel()
        if not task.done():
            task.cancel()
            await until_done(task)  # a step in a thread must have ended before its store is closed


async def finish(step: Awaitable[T], limit_s: float) -> T:
    """Await `step` until it is done, even if the caller is cancelled; the cancellation takes effect afterwards.

    Raises:
        TimeoutError: `step` took longer than `limit_s` seconds and was cancelled, so its outcome is unknown.
    """

    async def bounded() -> T:
        async with asyncio.timeout(limit_s):
            return await step

    task = asyncio.ensure_future(bounded())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
