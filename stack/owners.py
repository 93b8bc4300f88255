"""Find the program that listens on a port, so that error messages can name it."""

from __future__ import annotations

import contextlib
from pathlib import Path

_LISTENING = "0A"


def describe_owner(port: int) -> str:
    """Return ` by NAME (process PID)` for the program that listens on `port`; empty if it is unknown."""
    inodes = _listening_inodes(port)
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and inodes and _holds(process, inodes):
            with contextlib.suppress(OSError):  # it has just ended
                return f" by {(process / 'comm').read_text().strip()} (process {process.name})"
    return ""


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with contextlib.suppress(OSError):
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    return inodes


def _holds(process: Path, inodes: set[str]) -> bool:
    try:
        return any(_target(link) in inodes for link in (process / "fd").iterdir())
    except OSError:  # the process has just ended, or belongs to another user
        return False


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed since it was listed, as the listing's own descriptor always is
        return ""
