"""The share of a worker's event loop that its larger pages may take; the loop also runs the turns (micro-batches)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

REST: Final = 4.0
"""Pause after building a page, as a multiple of the time that it took: pages take a fifth of the loop at most."""


class Pace:
    """Builds one page at a time, with a pause after each, so that many requests wait instead of holding up turns.

    A figure that was kept for some time would do the same, but programs and tests would read what is no longer true.
    """

    def __init__(self) -> None:
        self._free = asyncio.Lock()

    async def build(self, page: Callable[[], T]) -> T:
        """Return what `page` returns, once it is its turn."""
        await self._free.acquire()
        began = time.perf_counter()
        try:
            return page()
        finally:
            asyncio.get_running_loop().call_later((time.perf_counter() - began) * REST, self._free.release)
