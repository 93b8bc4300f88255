"""Print the demo's progress: a line per phase, with an estimate before it and the measured duration behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

MEASURED_S: Final[Mapping[str, float]] = {
    "servers": 8,
    "load": 2,
    "capture": 2,
    "orders": 12,
    "live": 15,
    "verify": 2,
    "customers": 23,
    "storage": 1,
    "archive": 38,
    "lake": 138,
    "compare": 55,
}
"""Duration of each phase in seconds, in the order of the phases.

Measured on 2026-11-23 by `make demo` (size 1, all programs in the cache) on 2 cores; shown as estimates.
"""

CHANGES_MEASURED_S: Final[Mapping[str, float]] = {
    "servers": 6,
    "load": 4,
    "snapshot": 12,
    "storage": 1,
    "life": 60,
    "archive": 14,
    "warehouse": 2,
    "lake": 68,
    "compare": 30,
}
"""The same for `make demo DATASET=shop`, measured on 2026-11-25 while other programs shared the processors."""

MINIO_BUILD_S: Final = 240
"""Duration of building MinIO on 2 cores without any cache, in seconds; the stream's part runs at the same time."""

Write = Callable[[str], None]


class Progress:
    """The progress of a run; `seconds` has the duration of each finished phase, in order.

    Args:
        write: writes text, and flushes it.
        estimates: the expected duration of each phase, in seconds; the phases run in this order.
    """

    def __init__(self, write: Write, estimates: Mapping[str, float]) -> None:
        self.seconds: dict[str, float] = {}
        self._write = write
        self._estimates = dict(estimates)
        self._names = list(estimates)
        self._is_line_open = False
        self._began = time.monotonic()
        self._lock = threading.Lock()  # servers become ready on several threads

    @property
    def elapsed_s(self) -> float:
        """Time since the start, in seconds; longer than all phases, because stopping workers belongs to none."""
        return time.monotonic() - self._began

    @contextmanager
    def phase(self, name: str, text: str) -> Iterator[None]:
        """Print the start of a phase, and its duration at its end."""
        number = self._names.index(name) + 1
        self._write(f"[{number:>2}/{len(self._names)}] {text} (about {duration(self._estimates[name])}) ")
        self._is_line_open = True
        began = time.monotonic()
        try:
            yield
            self.seconds[name] = round(time.monotonic() - began, 2)
            self._write(f"{'' if self._is_line_open else '        done in '}{self.seconds[name]:.1f} s\n")
            self._is_line_open = False
        finally:
            self._end_line()

    def tick(self) -> None:
        """Show that the current phase goes on."""
        with self._lock:
            if self._is_line_open:
                self._write(".")

    def note(self, line: str) -> None:
        """Print a line about the current phase."""
        self.say(f"        {line}")

    def say(self, line: str = "") -> None:
        """Print a line that belongs to no phase."""
        self._end_line()
        with self._lock:
            self._write(f"{line}\n")

    def _end_line(self) -> None:
        with self._lock:
            if self._is_line_open:
                self._write("\n")
                self._is_line_open = False


def duration(seconds: float) -> str:
    """Format an estimate, such as `20 s` or `4 min`."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
