"""The life of a simulated shop: random insertions, changes and deletions, at the pace of a `Simulation`."""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from ops.dataset.simulation import Clock, Simulation, Summary

PROGRESS_S = 5.0


class Life(ABC):
    """Makes random changes in the source database; a subclass knows its tables, and counts in `summary`."""

    def __init__(self, simulation: Simulation, clock: Clock) -> None:
        self._simulation = simulation
        self._clock = clock
        self._draw = random.Random(f"{simulation.seed}")  # noqa: S311  (a simulation, no secrets)
        self.summary = Summary()

    @abstractmethod
    def insert(self) -> None:
        """Add something new."""

    @abstractmethod
    def update(self) -> None:
        """Change something; a change must alter a value, because databases don't log changes that alter nothing."""

    @abstractmethod
    def delete(self) -> None:
        """Delete something."""

    def after(self) -> None:  # noqa: B027  (most need nothing)
        """Do what belongs to earlier operations, after each operation."""

    def finish(self) -> None:  # noqa: B027
        """Do what is left to do when the simulation ends."""

    def run(self, stop: threading.Event, report: Callable[[str], None] = lambda line: None) -> Summary:
        """Run operations at the given rate, then finish what was begun."""
        began = reported = self._clock.monotonic()
        while not stop.is_set() and not self._is_over(began):
            self._pace(began)
            if stop.is_set():
                break
            self.step()
            self.summary.seconds = self._clock.monotonic() - began
            if self._clock.monotonic() - reported >= PROGRESS_S:
                reported = self._clock.monotonic()
                report(str(self.summary))
        self.finish()
        self.summary.seconds = self._clock.monotonic() - began
        return self.summary

    def step(self) -> None:
        """Run one operation: insert, update or delete."""
        choice = self._draw.random()
        if choice < self._simulation.insert_p:
            self.insert()
        elif choice < self._simulation.insert_p + self._simulation.update_p:
            self.update()
        else:
            self.delete()
        self.after()

    def _is_over(self, began: float) -> bool:
        limit = self._simulation
        if limit.count is not None and self.summary.operations >= limit.count:
            return True
        return limit.seconds is not None and self._clock.monotonic() - began >= limit.seconds

    def _pace(self, began: float) -> None:
        """Wait until the next operation is due; due times are relative to the start, so the simulation catches up."""
        done = self.summary.operations
        if self._simulation.rate_per_s is not None:
            due = began + done / self._simulation.rate_per_s
            ahead = due - self._clock.monotonic()
            if ahead > 0:
                self._clock.wait(ahead)
        elif self._simulation.sleep_ms and done:
            self._clock.wait(self._simulation.sleep_ms / 1000)
