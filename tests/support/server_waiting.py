"""How tests on real servers wait: for something that is seen from outside, with a generous limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LIVENESS_S: Final = 120.0
"""Far more than anything takes: who waits this long waits for ever."""


def until(condition: Callable[[], object], what: str, limit_s: float = LIVENESS_S) -> None:
    """Wait until something holds; `what` is said when it does not."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.05)
