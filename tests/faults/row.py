"""A row of a table of faults, whatever servers it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tests.faults.scenario import Dose

S = TypeVar("S")


@dataclass(frozen=True)
class FaultRow(Generic[S]):
    """One fault: what it does to a scenario, and its two doses."""

    name: str
    play: Callable[[S], None]
    quick: Dose
    full: Dose

    def dose(self, name: str) -> Dose:
        """The dose called `quick` or `full`."""
        return self.full if name == "full" else self.quick
