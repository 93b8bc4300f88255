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
# A worker's settings are those it is given: none of this process's shell leak into a measurement.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "USER")


class Worker:
    """A process `faust -A … worker` of one application, with its own web port, data folder and log.

    Args:
        web_port: port of its web views, on loopback.
        environment: its settings: those of `Stack.environment` that reach the servers, and any others.
        folder: parent of its data folder and of its log.
        program: module and first arguments that replace `faust`, to alter the worker before it starts.
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
        """Start the process; it dies with the thread that started it."""
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
        """The process of the last start."""
        assert self._process is not None, "the worker was not started"
        return self._process

    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.state() is not ProcessState.ENDED

    def stats(self) -> dict[str, Any] | None:
        """Read `/stats/`; None if it does not answer."""
        try:
            answer: dict[str, Any] = requests.get(f"{self.url}/stats/", timeout=2).json()
        except (requests.RequestException, ValueError):
            return None
        return answer

    def is_ready(self) -> bool:
        """Whether it has joined its group and processes every partition assigned to it."""
        stats = self.stats()
        return stats is not None and stats["ready"]

    def wait_ready(self, limit_s: float = READY_LIMIT_S) -> None:
        """Wait until it is ready.

        Raises:
            StackError: it has ended, or is not ready within the limit; the message has the end of its log.
        """
        deadline = time.monotonic() + limit_s
        while not self.is_ready():
            if not self.is_running():
                end = "\n".join(last_lines(self.log, _LOG_LINES))
                raise StackError(f"worker at port {self.web_port} has ended:\n{end}")
            if time.monotonic() > deadline:
                raise StackError(f"worker at {self.url} is not ready after {limit_s:.0f} s: see {self.log}")
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """Kill it, as a crash would (SIGKILL)."""
        self.process.send(signal.SIGKILL)
        self.process.wait_ended(STOP_LIMIT_S)

    def pause(self) -> None:
        """Freeze it (SIGSTOP)."""
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume it (SIGCONT)."""
        self.process.send(signal.SIGCONT)

    def stop(self, limit_s: float = STOP_LIMIT_S) -> bool:
        """Stop it gracefully, by force after the limit; returns whether it stopped by itself."""
        if not self.is_running():
            return True
        self.process.send(signal.SIGCONT)
        self.process.send(signal.SIGTERM)
        graceful = self.process.wait_ended(limit_s)
        if not graceful:
            self.kill()
        return graceful
