"""Start server processes, identify them later, and end them.

A process is identified by its pid, its start time and the machine's boot id, because the kernel reuses pids. Signals
are sent through a process file descriptor, opened before the identity is checked, so that a signal can never reach
another process with the same pid.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

_POLL_SECONDS = 0.02
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Python ignores SIGPIPE, which children would inherit; servers expect the default action for all of these signals.
_SIGNALS_TO_DEFAULT = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class ProcessState(StrEnum):
    """State of a process, as the kernel reports it."""

    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


@dataclass(frozen=True, kw_only=True)
class Process:
    """Unique identity of a process; `start_ticks` is its start time in clock ticks since the boot `boot_id`."""

    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Identify the process that currently has this pid; None if there is no such process."""
        stat = _stat(pid)
        return None if stat is None else cls(pid=pid, start_ticks=stat.start_ticks, boot_id=_boot_id())

    def state(self) -> ProcessState:
        """Return whether the process is running, paused (SIGSTOP) or ended; a reused pid counts as ended."""
        stat = _stat(self.pid)
        if stat is None or stat.start_ticks != self.start_ticks or _boot_id() != self.boot_id:
            return ProcessState.ENDED
        if stat.letter in "ZX":
            _reap(self.pid)
            return ProcessState.ENDED
        return ProcessState.PAUSED if stat.letter in "Tt" else ProcessState.RUNNING

    def uptime_seconds(self) -> float:
        """Return the time since the process started, in seconds."""
        since_boot = float(Path("/proc/uptime").read_text().split()[0])
        return max(0.0, since_boot - self.start_ticks / _TICKS_PER_SECOND)

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to this process and no other; return False if it has ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if self.state() is ProcessState.ENDED:
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def wait_ended(self, limit_seconds: float) -> bool:
        """Wait until the process has ended; return False if it has not ended within the limit."""
        return self.wait_for(ProcessState.ENDED, limit_seconds)

    def wait_for(self, state: ProcessState, limit_seconds: float) -> bool:
        """Wait until the process is in this state; return False if it is not within the limit, or has ended before."""
        deadline = time.monotonic() + limit_seconds
        while (current := self.state()) is not state:
            if current is ProcessState.ENDED or time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True


def as_user(user: str) -> list[str]:
    """Return the beginning of a command that runs the rest as another user; only root may run it."""
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    user: str | None = None,
    die_with_parent: bool = False,
) -> Process:
    """Start a server in a separate session, with its output appended to `log`.

    With `user`, the server runs as this user. With `die_with_parent`, the kernel kills the server when the *thread*
    that started it ends, so the calling thread must live as long as the server is needed.
    """
    arguments = list(command)
    if die_with_parent:  # after the change of the user, which would make the kernel forget it
        arguments = ["setpriv", "--pdeathsig", "KILL", *arguments]
    if user is not None:
        arguments = [*as_user(user), *arguments]
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        pid = os.posix_spawnp(
            arguments[0],
            arguments,
            dict(environment),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=_SIGNALS_TO_DEFAULT,
        )
    finally:
        os.close(output)
    process = Process.of(pid)
    assert process is not None, "a child keeps its pid until its parent waits for it"
    return process


@dataclass(frozen=True)
class _Stat:
    letter: str
    start_ticks: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field, the program's name in parentheses, may itself contain spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return _Stat(letter=fields[0], start_ticks=int(fields[19]))


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # not our child: its own parent reaps it
        os.waitpid(pid, os.WNOHANG)
