"""Slow calls on stores run in threads, so that they do not hold up the event loop.

Opening, closing or deleting a store takes up to 100 ms, because RocksDB writes its memtables to disk. On the event
loop, 96 partitions would hold up everything else for seconds: the turns of other partitions, and all web pages. RocksDB
releases Python's global lock while it closes a store, but not while it opens one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

OPENING: Final = ThreadPoolExecutor(1, thread_name_prefix="open-store")
"""The thread that opens stores. A single one, because several would leave the event loop less of Python's lock."""

CLOSING: Final = ThreadPoolExecutor(4, thread_name_prefix="close-store")
"""The threads that close stores. Most of their time goes into waiting for the disk."""


async def in_thread(executor: Executor, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a slow call on a store in a thread, and return its result.

    A cancellation takes effect only when the call has ended, so that a store is never used by two threads.
    """

    def run() -> T:
        return call(*args, **kwargs)

    future = asyncio.get_running_loop().run_in_executor(executor, run)
    await until_done(future)
    return future.result()


async def until_done(future: asyncio.Future[Any]) -> None:
    """Wait until `future` is done, even if the caller is cancelled; the cancellation takes effect afterwards."""
    is_cancelled = False
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        if not future.cancelled():
            future.exception()  # mark an error as seen, because the caller is cancelled instead
        raise asyncio.CancelledError
