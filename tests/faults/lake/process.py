"""A run of `python -m batch` as a process that is watched, frozen and killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from stack.process import Process
from stack.site import REPOSITORY
from tests.faults.lake.program import FROZEN
from tests.support.lake.testbed import Answer

LIMIT_S: Final = 600.0
POLL_S: Final = 0.02


class BatchProcess:
    """A process and the Java that it starts, in a process group of their own.

    Args:
        module: what Python runs, and its arguments.
    """

    def __init__(self, *module: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *module],
            env=dict(environment),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._java: Process | None = None
        self._reader = threading.Thread(target=self._read, name="batch-output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def text(self) -> str:
        """Its output so far."""
        return "\n".join(self.lines)

    def tell(self, line: str) -> None:
        """Write a line to its input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    # -- waiting ------------------------------------------------------------------------------------------------------

    def wait_said(self, beginning: str, count: int = 1) -> str:
        """Wait until it has printed this many lines with this beginning; returns the last one."""

        def said() -> list[str]:
            return [line for line in self.lines if line.startswith(beginning)]

        self._until(lambda: len(said()) >= count, f"says {beginning!r}")
        return said()[count - 1]

    def wait_frozen(self) -> None:
        """Wait until it has frozen itself."""
        self.wait_said(FROZEN)
        self._java = self._find_java()
        self._until(self._is_stopped, "freezes")

    def wait(self) -> Answer:
        """Wait for its end."""
        self._process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        return Answer(self._process.returncode, self.text, "")

    def has_ended(self) -> bool:
        """Whether it has ended, its Java too."""
        return self._process.poll() is not None and (self._java is None or self._java.wait_ended(0))

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            if self._process.poll() is not None and not self._reader.is_alive() and not condition():
                raise AssertionError(f"the run has ended before it {what}: {self.text[-1000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"the run does not come to where it {what}: {self.text[-1000:]}")
            time.sleep(POLL_S)

    def _is_stopped(self) -> bool:
        flags = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
        found = os.waitid(os.P_PID, self._process.pid, flags)
        return found is not None and found.si_code == os.CLD_STOPPED

    # -- signals ------------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Resume it and its Java."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def freeze(self) -> None:
        """Stop it and its Java wherever they are."""
        self._java = self._java or self._find_java()
        os.killpg(self._process.pid, signal.SIGSTOP)

    def kill(self, victim: str) -> None:
        """SIGKILL `python`, `java`, or `both` at once."""
        self._java = self._java or self._find_java()
        if victim == "both":
            os.killpg(self._process.pid, signal.SIGKILL)
        elif victim == "python":
            self._process.kill()
        else:
            self._java.send(signal.SIGKILL)

    def close(self) -> None:
        """End all remaining processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _find_java(self) -> Process:
        pid = self._process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if "java" in Path(f"/proc/{child}/cmdline").read_text().partition("\0")[0]:
                found = Process.of(int(child))
                assert found is not None
                return found
        raise AssertionError(f"the run has started no Java: {self.text[-1000:]}")
