"""The workers of one fault scenario, as a pool that starts, watches, heals and stops them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.workers import STOP_LIMIT_S, Worker
from stack.process import ProcessState
from tests.support.background import in_background

SETTLE_LIMIT_S: Final = 60.0
SAMPLE_S: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Requests to Kafka since the workers started, producers that are running, and lines in the workers' logs."""

    requests: int
    producers: int
    log_lines: int


class WorkerPool:
    """Workers that share the partitions.

    Attributes:
        workers: those that are meant to run; `spares` more can join.
        starved_s: longest time that any partition was served by nobody, while it was watched.
    """

    def __init__(
        self,
        *,
        ports: Sequence[int],
        size: int,
        partitions: int,
        environment: Mapping[str, str],
        folder: Path,
        program: Sequence[str],
    ) -> None:
        self._environment = dict(environment)
        self._folder = folder
        self._program = program
        self._partitions = partitions
        self.folders: set[Path] = set()
        self.everyone = [self.new_worker(port) for port in ports]
        self.workers = self.everyone[:size]
        self.spares = self.everyone[size:]
        self.starved_s = 0.0
        self.ungraceful = 0

    def new_worker(self, port: int, disk: str = "disk", **extra: str) -> Worker:
        """A worker of this pool at a port, with a data folder of its own."""
        folder = self._folder / f"{port}-{disk}"
        self.folders.add(folder)
        files = {"FAULTS_STOP_FILE": str(self.stop_file(port)), "FAULTS_FIGURES_FILE": str(self._figures_file(port))}
        environment = {**self._environment, **files, **extra}
        return Worker(web_port=port, environment=environment, folder=folder, program=self._program)

    def stop_file(self, port: int) -> Path:
        """A file that makes the worker freeze itself right before its next commit; see `faults_in_process.py`."""
        return self._folder / f"{port}.stop"

    def _figures_file(self, port: int) -> Path:
        return self._folder / f"{port}.figures"

    def figures(self) -> Figures:
        """Return what all workers have done so far; a worker that has not reported yet counts as nothing."""
        found = [_read_figures(self._figures_file(worker.web_port)) for worker in self.workers]
        logs = sum(path.read_bytes().count(b"\n") for path in self._folder.rglob("worker-*.log"))
        return Figures(
            requests=sum(each["requests"] for each in found),
            producers=sum(each["producers"] for each in found),
            log_lines=logs,
        )

    def pids(self) -> list[int]:
        """Return the process ids of the workers that are meant to run."""
        return [worker.process.pid for worker in self.workers]

    def replace(self, worker: Worker, disk: str) -> Worker:
        """Replace a worker that has ended by one with an empty disk."""
        new = self.new_worker(worker.web_port, disk)
        self.workers[self.workers.index(worker)] = new
        self.everyone[self.everyone.index(worker)] = new
        return new

    def start(self) -> None:
        """Start the workers that should be running and are not."""
        for worker in self.workers:
            if not worker.is_running():
                worker.start()

    def serving(self) -> list[int]:
        """The partitions that are processed now, one entry per worker that processes it."""
        found: list[int] = []
        for worker in self.everyone:
            stats = worker.stats() if _is_awake(worker) else None
            if stats is not None:
                found += [int(n) for n, partition in stats["partitions"].items() if partition["state"] == "running"]
        return sorted(found)

    def settle(self, limit_s: float = SETTLE_LIMIT_S) -> None:
        """Wait until every partition is processed by exactly one worker, and every worker is ready.

        Raises:
            TimeoutError: it took longer than the limit.
        """
        everything = list(range(self._partitions))
        self.until(
            lambda: self.serving() == everything and all(worker.is_ready() for worker in self.workers),
            "every partition is served once",
            limit_s,
        )

    def until(self, condition: Callable[[], object], what: str, limit_s: float) -> None:
        """Wait until something holds, starting workers again that have ended, as their supervisor would.

        Raises:
            TimeoutError: it does not hold within the limit.
        """
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {limit_s:.0f} s: {what}; served: {self.serving()}")
            self.start()
            time.sleep(0.1)

    @contextmanager
    def starvation_watched(self) -> Iterator[None]:
        """Measure during the block how long partitions are processed by no worker."""
        with in_background(self._watch, "starvation"):
            yield

    def _watch(self, stop: threading.Event) -> None:
        seen_at = dict.fromkeys(range(self._partitions), time.monotonic())
        while not stop.wait(SAMPLE_S):
            serving, now = self.serving(), time.monotonic()
            self.starved_s = max(self.starved_s, *(now - at for at in seen_at.values()))
            seen_at.update(dict.fromkeys(serving, now))

    def heal(self) -> None:
        """Resume frozen workers."""
        for worker in self.everyone:
            self.stop_file(worker.web_port).unlink(missing_ok=True)
            if worker.is_running():
                worker.resume()

    def stop(self) -> None:
        """Stop all workers gracefully; those that do not stop are killed and counted in `ungraceful`."""
        self.heal()
        for worker in self.everyone:
            self.ungraceful += not worker.stop(STOP_LIMIT_S)

    def kill(self) -> None:
        """Kill all workers at once."""
        for worker in self.everyone:
            if worker.is_running():
                worker.kill()

    def log_count(self, text: str) -> int:
        """Count the occurrences of a text in the logs of all workers."""
        return sum(path.read_text(errors="replace").count(text) for path in self._folder.rglob("worker-*.log"))


def _is_awake(worker: Worker) -> bool:
    return worker.is_running() and worker.process.state() is ProcessState.RUNNING


def _read_figures(path: Path) -> Mapping[str, int]:
    if not path.exists():
        return {"requests": 0, "producers": 0}
    found: Mapping[str, int] = json.loads(path.read_text())
    return found
