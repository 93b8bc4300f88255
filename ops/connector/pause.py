"""Pauses between tries that fail in a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
"""Pauses between two restarts of a connector, or two tries of a sweep, that fail in a row; each is twice the former."""


class Pause:
    """A pause that doubles with each failure in a row."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next_s = FIRST_PAUSE_S
        self._over_at = self._well_since = float("-inf")
        self._is_well = False

    @property
    def is_over(self) -> bool:
        """Whether the next try may begin."""
        return self._clock() >= self._over_at

    def begin(self) -> float:
        """Begin the next pause, and return its length in seconds."""
        pause_s = self._next_s
        self._over_at = self._clock() + pause_s
        self._next_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._is_well = False
        return pause_s

    def reset(self) -> None:
        """Make the next pause the shortest one again."""
        self._next_s, self._over_at = FIRST_PAUSE_S, float("-inf")

    def note_well(self) -> None:
        """Reset the pause once all has been well for as long as it would last; a task may fail soon after its start."""
        if not self._is_well:
            self._is_well, self._well_since = True, self._clock()
        if self._clock() - self._well_since >= self._next_s:
            self.reset()
