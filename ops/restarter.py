"""Run a command and restart it when it fails, each time after a longer pause.

    python -m ops.restarter [OPTIONS] [--] COMMAND [ARGUMENT ...]

The restarter ends when the command succeeds (exit code 0) or says that its options or settings are wrong (exit code 2),
on SIGTERM or SIGINT (passed on to the command, whose exit code it returns), or when the command fails immediately
several times in a row, because waiting does not fix a wrong configuration. If the restarter itself is killed, the
kernel kills the command too.

Exit codes: that of the command; 128 + signal number if a signal ended it; 1 after giving up; 2 for wrong usage;
126 if the command cannot be run; 127 if it does not exist.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from config import parsing
from config.command_line import argument

_GAVE_UP = 1
_WRONG_USAGE = 2  # of the restarter, and of the command: its settings or options are wrong, so it fails again
_CANNOT_RUN = 126
_NOT_FOUND = 127
_SIGNAL_BASE = 128
_PR_SET_PDEATHSIG = 1
_MOST_DOUBLINGS = 40  # enough to reach any longest delay; without a limit, the power would overflow after months
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_AWAITED_SIGNALS = (*_STOP_SIGNALS, signal.SIGCHLD)
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Pauses between restarts, and the limit for giving up. All times are in seconds."""

    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    settled_after_s: float = 60.0
    """Minimum length of a run after which the pause is reset to the first delay."""
    quick_death_s: float = 1.0
    """Maximum length of a run whose failure counts as immediate."""
    quick_deaths: int = 5
    """Number of immediate failures in a row after which the restarter gives up."""

    def delay_s(self, deaths: int) -> float:
        """Return the pause after `deaths` failures in a row: it doubles each time, up to the longest delay."""
        doublings = min(deaths - 1, _MOST_DOUBLINGS)
        return min(self.first_delay_s * 2.0**doublings, self.longest_delay_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and restart the command given in `arguments`, and return the exit code."""
    pace, command = parse_command_line(arguments)
    # Blocked signals stay pending until they are fetched, so none can get lost between two steps.
    inherited = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED_SIGNALS)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        return keep_running(command, pace, child_signal_mask=inherited)
    except FileNotFoundError:
        _say(f"{command[0]}: command not found")
        return _NOT_FOUND
    except OSError as error:
        _say(f"{command[0]}: cannot be run: {error.strerror}")
        return _CANNOT_RUN


def keep_running(command: Sequence[str], pace: Pace, *, child_signal_mask: Collection[int]) -> int:
    """Run the command until it succeeds, is used wrongly, is stopped or keeps failing; return the exit code.

    SIGTERM, SIGINT and SIGCHLD must be blocked in the calling thread, which must be the main one.

    Raises:
        OSError: the command cannot be started.
    """
    deaths = quick_deaths = 0
    while True:
        began = time.monotonic()
        child = _start(command, child_signal_mask)
        stopped = _wait(child)
        lasted_s = time.monotonic() - began
        if stopped or child.returncode in (0, _WRONG_USAGE):
            return _exit_code(child.returncode)
        deaths = 1 if lasted_s >= pace.settled_after_s else deaths + 1
        quick_deaths = quick_deaths + 1 if lasted_s <= pace.quick_death_s else 0
        ending = f"{command[0]} {_describe(child.returncode)} after {lasted_s:.1f} s"
        if quick_deaths == pace.quick_deaths:
            _say(f"{ending}; giving up: it failed immediately {quick_deaths} times in a row")
            return _GAVE_UP
        delay_s = pace.delay_s(deaths)
        _say(f"{ending}; restarting in {delay_s:g} s")
        if signal.sigtimedwait(_STOP_SIGNALS, delay_s) is not None:
            return 0


def _start(command: Sequence[str], signal_mask: Collection[int]) -> subprocess.Popen[bytes]:
    # In a separate process group, so that a signal to the restarter's group does not reach the command twice.
    return subprocess.Popen(command, process_group=0, preexec_fn=_child_setup(signal_mask))


def _child_setup(signal_mask: Collection[int]) -> Callable[[], None]:
    parent = os.getpid()

    def set_up() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the restarter died before prctl took effect
            os._exit(_SIGNAL_BASE + signal.SIGKILL)
        for number in _STOP_SIGNALS:  # background jobs of a shell inherit an ignored SIGINT, so it would have no effect
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, signal_mask)

    return set_up


def _wait(child: subprocess.Popen[bytes]) -> bool:
    """Wait until the child has ended, passing on stop signals; return whether any arrived."""
    stopped = False
    while True:
        number = signal.sigwait(_AWAITED_SIGNALS)
        if number in _STOP_SIGNALS:
            stopped = True
            child.send_signal(number)
        if child.poll() is not None:
            return stopped


def _exit_code(status: int) -> int:
    return status if status >= 0 else _SIGNAL_BASE - status


def _describe(status: int) -> str:
    if status >= 0:
        return f"ended with exit code {status}"
    known = {number.value: number.name for number in signal.Signals}
    return f"was ended by {known.get(-status, f'signal {-status}')}"


def _say(line: str) -> None:
    print(f"restarter: {line}", file=sys.stderr, flush=True)


def parse_command_line(arguments: Sequence[str] | None) -> tuple[Pace, list[str]]:
    """Parse the options and the command with its arguments; exit with code 2 on wrong usage."""
    defaults = Pace()
    parser = argparse.ArgumentParser(prog="python -m ops.restarter", description="Restart a command when it fails.")
    for option, default, text in (
        ("--first-delay", defaults.first_delay_s, "pause before the first restart"),
        ("--longest-delay", defaults.longest_delay_s, "longest pause"),
        ("--settled-after", defaults.settled_after_s, "run time after which the next pause is the first delay again"),
        ("--quick-death", defaults.quick_death_s, "a failure within this run time counts as immediate"),
    ):
        parser.add_argument(
            option,
            type=argument(parsing.interval_or_zero),
            default=default,
            metavar="10s",
            help=f"{text} (default: {default:g}s)",
        )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="[--] COMMAND", help="command to run")
    parsed = parser.parse_args(arguments)
    command = parsed.command[1:] if parsed.command[:1] == ["--"] else parsed.command
    if not command:
        parser.error("no command given")
    pace = Pace(
        first_delay_s=parsed.first_delay,
        longest_delay_s=parsed.longest_delay,
        settled_after_s=parsed.settled_after,
        quick_death_s=parsed.quick_death,
    )
    return pace, command


if __name__ == "__main__":
    sys.exit(main())
