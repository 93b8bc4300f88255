"""Which times of the source database's clock are believed."""

from __future__ import annotations

from typing import Final

MOST_AHEAD_MS: Final = 86_400_000
"""Maximum time by which a source time may be ahead of another clock. A source time further ahead is considered wrong,
so that it cannot make timers fire too early."""


def is_credible(at_ms: int, reference_ms: int) -> bool:
    """Return whether a source time is plausible, compared with another clock.

    Args:
        at_ms: the source time, in milliseconds since 1970.
        reference_ms: time by the other clock, such as the Kafka timestamp of the record; without a known time (0 or
            below), no source time is plausible.
    """
    return reference_ms > 0 and at_ms <= reference_ms + MOST_AHEAD_MS
