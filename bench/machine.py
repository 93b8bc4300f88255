"""Read the processor time and memory of processes, and the processor time of the machine, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_IDLE_FIELDS: Final = (3, 4)
"""Columns of the first line of /proc/stat that do not count busy time: idle, and waiting for I/O."""
_GUEST_FIELD: Final = 8
"""The first column in the first line of /proc/stat whose time is already included in earlier columns."""
_START_FIELD: Final = 19
"""Index of the process start time among the fields of /proc/<pid>/stat that follow the program's name."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Processor seconds that processes have used since their start, and their current resident memory in bytes."""

    cpu_s: float = 0.0
    rss_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Processor seconds used by the whole machine, the measured processes, the servers and the measuring process."""

    machine_s: float
    measured_s: float
    servers_s: float
    meter_s: float

    @classmethod
    def now(cls, measured: Usage, servers: Sequence[int]) -> Self:
        """Read the processor seconds used so far; `servers` are the pids of the servers."""
        return cls(
            machine_s=machine_cpu_s(),
            measured_s=measured.cpu_s,
            servers_s=sum(usage_of(pid).cpu_s for pid in servers),
            meter_s=usage_of(os.getpid()).cpu_s,
        )

    def since(self, before: Spent) -> Spent:
        """Return the processor seconds used since an earlier reading."""
        return Spent(
            machine_s=self.machine_s - before.machine_s,
            measured_s=self.measured_s - before.measured_s,
            servers_s=self.servers_s - before.servers_s,
            meter_s=self.meter_s - before.meter_s,
        )


def foreign_share(spent: Spent, *, wall_s: float, cores: int) -> float:
    """Return the share of the machine used by all other programs; a result below 0, from rounding, counts as 0."""
    others_s = spent.machine_s - spent.measured_s - spent.servers_s - spent.meter_s
    return max(0.0, others_s / (wall_s * cores))


def machine_cpu_s() -> float:
    """Return the processor seconds that the machine was busy, including time taken by other virtual machines."""
    return busy_s(Path("/proc/stat").read_text().split("\n", 1)[0])


def busy_s(line: str) -> float:
    """Compute the busy processor seconds from the first line of /proc/stat."""
    ticks = [int(field) for field in line.split()[1 : _GUEST_FIELD + 1]]
    return (sum(ticks) - sum(ticks[field] for field in _IDLE_FIELDS)) / _TICKS_PER_S


class TreeMeter:
    """Measures a process and its descendants, including descendants that have ended or lost their parent.

    A process counts from the first sample that finds it in the tree, with its usage in the last sample that found it.

    Attributes:
        rss_bytes: peak resident memory of all these processes together.
    """

    def __init__(self) -> None:
        self._spent_s: dict[tuple[int, str], float] = {}
        self.rss_bytes = 0

    @property
    def cpu_s(self) -> float:
        """Processor seconds of all processes that the samples have found."""
        return sum(self._spent_s.values())

    def sample(self, root: int) -> bool:
        """Take a sample of `root` and its descendants; return whether any of these processes is alive."""
        tree, known = set(_tree(root)), {pid for pid, _ in self._spent_s}
        rss_bytes: list[int] = []
        for pid in tree | known:
            fields = _fields(pid)
            if fields is None or fields[0] in "ZX":
                continue
            process = pid, fields[_START_FIELD]
            if process in self._spent_s or pid in tree:  # otherwise, an unrelated process has reused the pid
                self._spent_s[process] = sum(map(int, fields[11:13])) / _TICKS_PER_S
                rss_bytes.append(int(fields[21]) * _PAGE_BYTES)
        self.rss_bytes = max(self.rss_bytes, sum(rss_bytes))
        return bool(rss_bytes)


def tree_usage(*roots: int) -> Usage:
    """Return the total usage of processes and their descendants, including children that have been reaped."""
    found = [usage_of(pid) for root in roots for pid in _tree(root)]
    return Usage(cpu_s=sum(each.cpu_s for each in found), rss_bytes=sum(each.rss_bytes for each in found))


def usage_of(pid: int) -> Usage:
    """Return the usage of one process and the children that it has reaped; zero if the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return Usage()
    return parsed_usage(text)


def _fields(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat after the program's name; None if the process does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def parsed_usage(text: str) -> Usage:
    """Parse the usage from the text of /proc/<pid>/stat."""
    # The second field, the program's name in parentheses, may itself contain spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    ticks = sum(int(field) for field in fields[11:15])
    return Usage(cpu_s=ticks / _TICKS_PER_S, rss_bytes=int(fields[21]) * _PAGE_BYTES)


def _tree(root: int) -> Iterator[int]:
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue  # the process has just ended
