"""The result of a row of a table of faults, and how a row is played."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stack.errors import StackError

Say = Callable[[str], None]


class Testbed(Protocol):
    """What a row needs of its servers, whatever it breaks there."""

    def keep_logs(self, name: str) -> Path:
        """Copy the logs to a folder that is kept."""

    def heal(self) -> None:
        """Start what a fault has left down."""


@dataclass(kw_only=True)
class Result:
    """Result of one row; for a mutant, `passed` means that it was caught."""

    row: str
    fault: str
    dose: str
    seed: int
    mutant: str | None = None
    lost: int | None = None
    twice: int | None = None
    invariants: dict[str, bool] = field(default_factory=dict)
    first_progress_s: float | None = None
    every_partition_s: float | None = None
    lag_zero_s: float | None = None
    passed: bool = False
    seconds: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Convert to JSON data; `mutant` only if there is one."""
        fields = asdict(self)
        return {name: value for name, value in fields.items() if name != "mutant" or value is not None}


@contextmanager
def played(result: Result, testbed: Testbed, say: Say) -> Iterator[None]:
    """Play the row in the block, and take its time; an effect of a fault becomes the result's error."""
    mutant = f", mutant {result.mutant}" if result.mutant else ""
    say(f"row {result.row}: {result.fault}, {result.dose}, seed {result.seed}{mutant}")
    began = time.monotonic()
    try:
        yield
    except (TimeoutError, StackError, AssertionError, OSError) as error:
        result.error = f"{type(error).__name__}: {error}"
        say(f"  {result.error}")
    finally:
        if not result.passed:
            say(f"  logs: {testbed.keep_logs(f'{result.row}-{result.mutant or result.dose}')}")
        testbed.heal()
    result.seconds = round(time.monotonic() - began, 1)
