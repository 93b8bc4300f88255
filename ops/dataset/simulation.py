"""Parameters and summary of a simulation, and the clock that controls its pace."""

from __future__ import annotations

import math
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from ops.dataset.shop import Details
from stack.errors import StackError


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Parameters of a simulation; without `rate_per_s` or `sleep_ms`, it runs as fast as the database commits."""

    insert_p: float = 0.7
    update_p: float = 0.2
    delete_p: float = 0.1
    rate_per_s: float | None = None
    sleep_ms: float | None = None
    count: int | None = None
    seconds: float | None = None
    details: Details = Details.SAME
    seed: int = 1
    salt: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        shares = {"--insert-p": self.insert_p, "--update-p": self.update_p, "--delete-p": self.delete_p}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise StackError(f"{name} must be from 0 to 1, not {share:g}")
        if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-9):
            raise StackError(f"{' + '.join(shares)} must be 1, not {sum(shares.values()):g}")
        if self.rate_per_s is not None and self.sleep_ms is not None:
            raise StackError("--rate and --sleep-ms cannot be used together")
        if self.rate_per_s is not None and not 0 < self.rate_per_s < math.inf:
            raise StackError(f"--rate must be above 0, not {self.rate_per_s:g}")
        if self.sleep_ms is not None and not 0 <= self.sleep_ms < math.inf:
            raise StackError(f"--sleep-ms must be 0 or more, not {self.sleep_ms:g}")
        if self.count is not None and self.count < 0:
            raise StackError(f"--count must be 0 or more, not {self.count}")
        if self.seconds is not None and not 0 <= self.seconds < math.inf:
            raise StackError(f"--seconds must be 0 or more, not {self.seconds:g}")


@dataclass(kw_only=True)
class Summary:
    """Counts of a simulation; `skipped` counts updates and deletions that found no order."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    skipped: int = 0
    transactions: int = 0
    seconds: float = 0.0

    @property
    def operations(self) -> int:
        """Number of operations attempted, including skipped ones."""
        return self.inserted + self.updated + self.deleted + self.skipped

    def __str__(self) -> str:
        rate = self.operations / self.seconds if self.seconds > 0 else 0.0
        skipped = f", skipped {self.skipped:,}" if self.skipped else ""
        return (
            f"inserted {self.inserted:,}, updated {self.updated:,}, deleted {self.deleted:,}{skipped}; "
            f"{self.transactions:,} transactions in {self.seconds:.1f} s, {rate:,.1f} operations/s"
        )


class Clock(Protocol):
    """A source of time, which tests can replace."""

    def now(self) -> datetime:
        """Return the current wall-clock time in UTC."""

    def monotonic(self) -> float:
        """Return the time of a monotonic clock, in seconds."""

    def wait(self, seconds: float) -> None:
        """Wait for the given time; return early if the simulation is being stopped."""


class SystemClock:
    """The system's clock; `wait` returns early once `stop` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        self._stop.wait(seconds)
