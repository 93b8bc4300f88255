"""Cancellable steps of work, such as a download, that report progress and run external tools."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from config.settings import environment_with
from stack.errors import CancelledWorkError, StackError

_POLL_SECONDS = 0.1
_TAIL_LINES = 12
_LOWEST_PRIORITY = 19


class Job:
    """A step of work that reports progress and can be cancelled through the event `cancelled`.

    With `yields`, its tools run with the lowest priority, so that they hardly slow down other programs.
    """

    def __init__(self, report: Callable[[str], None], cancelled: threading.Event, *, yields: bool = False) -> None:
        self.report = report
        self._cancelled = cancelled
        self._yields = yields

    def check(self) -> None:
        """Raise `CancelledWorkError` if the work was cancelled."""
        if self._cancelled.is_set():
            raise CancelledWorkError

    def pause(self, seconds: float) -> None:
        """Wait for `seconds`; raise `CancelledWorkError` as soon as the work is cancelled."""
        if self._cancelled.wait(seconds):
            raise CancelledWorkError

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        purpose: str,
        to_its_end: bool = False,
        folder: Path | None = None,
    ) -> None:
        """Run an external tool; `purpose` names it in error messages.

        With `to_its_end` the tool runs to completion even if the work is cancelled. `folder` is its working folder.

        Raises:
            StackError: the tool is not installed, or it failed; the message contains the last lines of its output.
            CancelledWorkError: the work was cancelled.
        """
        with tempfile.TemporaryFile() as output:
            try:
                tool = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment_with(environment or {}),
                    cwd=folder,
                    start_new_session=True,  # so that Ctrl-C does not reach the tool; `_wait` ends all its processes
                )
            except FileNotFoundError:
                raise StackError(f"{purpose}: the program {command[0]} is not installed") from None
            if self._yields:
                _lower_priority(tool.pid)
            code = self._wait(tool, to_its_end)
            if code != 0:
                name = Path(command[0]).name
                raise StackError(f"{purpose} failed: {name} exited with code {code}\n{_last_lines(output)}")

    def _wait(self, tool: subprocess.Popen[bytes], to_its_end: bool) -> int:
        with tool:
            while True:
                try:
                    return tool.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    if self._cancelled.is_set() and not to_its_end:
                        os.killpg(tool.pid, signal.SIGTERM)
                        raise CancelledWorkError from None


def _lower_priority(pid: int) -> None:
    """Give a new process the lowest priority, and also its session, by which some kernels share the processor."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _LOWEST_PRIORITY)
        Path(f"/proc/{pid}/autogroup").write_text(str(_LOWEST_PRIORITY))


def _last_lines(output: IO[bytes]) -> str:
    output.seek(0)
    lines = output.read().decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
    return "\n".join(f"    {line}" for line in lines)
