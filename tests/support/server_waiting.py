"""Wait in tests on real servers for a visible condition, with a generous time limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LIVENESS_S: Final = 120.0
"""Far longer than any step takes: a test that waits this long would wait forever."""


def until(condition: Callable[[], object], what: str, limit_s: float = LIVENESS_S) -> None:
    """Wait until a condition holds; `what` names it in the error."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.05)
