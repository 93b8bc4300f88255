"""Wait in asynchronous tests for a visible condition, with a generous time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

LIVENESS_S: Final = 20.0


async def until(condition: Callable[[], object], limit_s: float = LIVENESS_S) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not hold within the limit.
    """
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - the condition is seen from outside
            await asyncio.sleep(0.002)
