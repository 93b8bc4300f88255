"""Why records became dead letters, counted without the data that reasons quote."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

MOST_REASONS: Final = 50
"""Number of reasons counted separately; all others are counted together."""

OTHER: Final = "other reasons"
MOST_CHARACTERS: Final = 160

_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_NUMBER: Final = re.compile(r"\d+")


def general(reason: str) -> str:
    """Return a reason without the values and numbers that it quotes, so that the same fault has the same reason."""
    plain = _NUMBER.sub("n", _QUOTED.sub("…", reason[: 4 * MOST_CHARACTERS]))
    return plain[:MOST_CHARACTERS] or "no reason given"


class Refusals:
    """The number of a worker's dead letters by reason, and the time of the newest of each."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._newest: dict[str, float] = {}

    def note(self, reasons: Iterable[str], now: float) -> None:
        """Count the dead letters of a turn (micro-batch) that was committed at a Unix time."""
        for reason in map(general, reasons):
            name = reason if reason in self._counts or len(self._counts) < MOST_REASONS else OTHER
            self._counts[name] = self._counts.get(name, 0) + 1
            self._newest[name] = now

    @property
    def newest(self) -> str | None:
        """The reason of the newest dead letter; None if there is none."""
        return max(self._newest, key=lambda name: self._newest[name], default=None)

    def most_common(self, number: int) -> list[dict[str, Any]]:
        """Return the most frequent reasons: reason, count, and Unix time of the newest letter."""
        found = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:number]
        return [{"reason": name, "count": count, "newest": round(self._newest[name])} for name, count in found]
