"""Wait for a condition in asynchronous tests, with a generous time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

LIVENESS_S: Final = 20.0


async def until(condition: Callable[[], object], limit_s: float = LIVENESS_S) -> None:
    """Wait until `condition` returns a true value.

    Raises:
        TimeoutError: the condition was not met within the time limit.
    """
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - no event signals the condition
            await asyncio.sleep(0.002)
