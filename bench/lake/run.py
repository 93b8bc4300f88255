"""Measure the time, processor time and memory of commands, including all their child processes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.machine import Spent, TreeMeter, Usage, foreign_share
from stack.errors import StackError
from stack.record import last_lines
from stack.site import REPOSITORY

SAMPLE_S: Final = 0.05
LIMIT_S: Final = 3_600.0
_LOG_LINES: Final = 15
_MIB: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The time and the resources that a measured command or cycle used.

    Attributes:
        cpu_s: processor seconds of the measured processes.
        rss_mb: peak resident memory of the measured processes together, in MiB.
        server_cpu_s: processor seconds of the servers in the same time.
        foreign_cpu: share of the machine (0 to 1) used by all other programs.
    """

    seconds: float
    cpu_s: float
    rss_mb: float
    server_cpu_s: float
    foreign_cpu: float


class Window:
    """Measures the resources that a process tree and the servers use from the creation of the object on."""

    def __init__(self, meter: TreeMeter, servers: Callable[[], Sequence[int]]) -> None:
        self._meter = meter
        self._servers = servers
        self._before = self._spent()
        self._began = time.monotonic()

    def cost(self, *, seconds: float | None = None, parts: int = 1) -> Cost:
        """Return the time and the resources used so far.

        Args:
            seconds: time to report instead of the elapsed time.
            parts: number of repetitions in this time; processor times are divided by it.
        """
        wall_s = time.monotonic() - self._began
        spent = self._spent().since(self._before)
        return Cost(
            seconds=wall_s if seconds is None else seconds,
            cpu_s=spent.measured_s / parts,
            rss_mb=self._meter.rss_bytes / _MIB,
            server_cpu_s=spent.servers_s / parts,
            foreign_cpu=foreign_share(spent, wall_s=wall_s, cores=os.cpu_count() or 1),
        )

    def _spent(self) -> Spent:
        return Spent.now(Usage(cpu_s=self._meter.cpu_s), self._servers())


def started(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command in the repository, with its output appended to `log`; the kernel kills it if the caller dies."""
    with log.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            env=dict(environment),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def measured(
    commands: Sequence[Sequence[str]], environment: Mapping[str, str], log: Path, servers: Callable[[], Sequence[int]]
) -> Cost:
    """Run commands one after the other, and return their total cost.

    Raises:
        StackError: a command failed or exceeded the time limit; the message has the end of its log.
    """
    costs = [_measured(command, environment, log, servers) for command in commands]
    seconds = sum(each.seconds for each in costs)
    return Cost(
        seconds=seconds,
        cpu_s=sum(each.cpu_s for each in costs),
        rss_mb=max(each.rss_mb for each in costs),
        server_cpu_s=sum(each.server_cpu_s for each in costs),
        foreign_cpu=sum(each.foreign_cpu * each.seconds for each in costs) / seconds,
    )


def _measured(
    command: Sequence[str], environment: Mapping[str, str], log: Path, servers: Callable[[], Sequence[int]]
) -> Cost:
    deadline = time.monotonic() + LIMIT_S
    meter = TreeMeter()
    window = Window(meter, servers)
    process = started(command, environment, log)
    while meter.sample(process.pid):
        if time.monotonic() > deadline:
            process.kill()
        process.poll()
        time.sleep(SAMPLE_S)
    cost = window.cost()
    if process.wait() != 0:
        end = "\n".join(last_lines(log, _LOG_LINES))
        raise StackError(f"{' '.join(command)} failed with exit code {process.returncode}; the end of its log:\n{end}")
    return cost
