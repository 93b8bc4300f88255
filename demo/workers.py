"""Run workers as processes for the demo, the tests and the benchmarks: start, query, kill and stop them."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from config.settings import environment_with
from stack.errors import StackError
from stack.process import Process, ProcessState, start
from stack.record import last_lines
from stack.site import REPOSITORY

READY_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0
_POLL_S = 0.1
_LOG_LINES = 15
# A worker gets only the settings passed to it, so that no variable of the shell affects a measurement.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "USER")


class Worker:
    """A worker process of one Faust application, with its own web port, data folder and log.

    Args:
        web_port: port of the worker's web views on the loopback address.
        environment: settings for the worker: those of `Stack.environment`, which locate the servers, and any others.
        folder: folder for the worker's data and log.
        program: module and first arguments to run instead of `faust`, to start a modified worker.
        application: name of the Faust application to run.
    """

    def __init__(
        self,
        *,
        web_port: int,
        environment: Mapping[str, str],
        folder: Path,
        program: Sequence[str] = ("faust",),
        application: str = "streams.orders",
    ) -> None:
        self.web_port = web_port
        self.url = f"http://127.0.0.1:{web_port}"
        self.log = folder / f"worker-{web_port}.log"
        own = {"STATE_DIR": str(folder / "state"), "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
        self._environment = environment_with({**own, **environment}, only=_INHERITED)
        self._program = tuple(program)
        self._application = application
        self._process: Process | None = None

    def start(self) -> None:
        """Start the worker process, which the kernel kills when the calling thread ends."""
        command = [sys.executable, "-m", *self._program, "-A", self._application, "worker", "-l", "info"]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._process = start(
            [*command, "--web-port", str(self.web_port)],
            environment=self._environment,
            log=self.log,
            die_with_parent=True,
        )

    @property
    def process(self) -> Process:
        """The most recently started worker process."""
        assert self._process is not None, "the worker was not started: call start() first"
        return self._process

    def is_running(self) -> bool:
        """Whether the worker process is running or paused."""
        return self._process is not None and self._process.state() is not ProcessState.ENDED

    def stats(self) -> dict[str, Any] | None:
        """Request the worker's statistics from `/stats/`; return None if the worker does not answer."""
        try:
            answer: dict[str, Any] = requests.get(f"{self.url}/stats/", timeout=2).json()
        except (requests.RequestException, ValueError):
            return None
        return answer

    def is_ready(self) -> bool:
        """Whether the worker has joined its consumer group and is processing all partitions assigned to it."""
        stats = self.stats()
        return stats is not None and stats["ready"]

    def wait_ready(self, limit_s: float = READY_LIMIT_S) -> None:
        """Wait until the worker is ready.

        Raises:
            StackError: the worker has ended (the message has the end of its log), or is not ready within the limit.
        """
        deadline = time.monotonic() + limit_s
        while not self.is_ready():
            if not self.is_running():
                end = "\n".join(last_lines(self.log, _LOG_LINES))
                raise StackError(f"the worker on port {self.web_port} has ended; the last lines of its log:\n{end}")
            if time.monotonic() > deadline:
                raise StackError(f"the worker at {self.url} is not ready after {limit_s:.0f} s: see {self.log}")
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """Simulate a crash: kill the worker (SIGKILL)."""
        self.process.send(signal.SIGKILL)
        self.process.wait_ended(STOP_LIMIT_S)

    def pause(self) -> None:
        """Freeze the worker (SIGSTOP)."""
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the frozen worker (SIGCONT)."""
        self.process.send(signal.SIGCONT)

    def stop(self, limit_s: float = STOP_LIMIT_S) -> bool:
        """Stop the worker gracefully, or kill it after the time limit; return whether it stopped gracefully."""
        if not self.is_running():
            return True
        self.process.send(signal.SIGCONT)
        self.process.send(signal.SIGTERM)
        graceful = self.process.wait_ended(limit_s)
        if not graceful:
            self.kill()
        return graceful
