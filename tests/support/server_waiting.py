"""Wait for a condition in tests on real servers, with a generous time limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LIVENESS_S: Final = 120.0
"""Default time limit, in seconds; far longer than any step of a test takes."""


def until(condition: Callable[[], object], what: str, limit_s: float = LIVENESS_S) -> None:
    """Wait until `condition` returns a true value; after the time limit, fail with a message that contains `what`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not fulfilled within {limit_s:.0f} s: {what}"
        time.sleep(0.05)
