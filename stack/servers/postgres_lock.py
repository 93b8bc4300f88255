"""What a killed PostgreSQL server leaves behind: processes that have not noticed yet, and its lock file.

The server's own rule is not enough. It refuses to start while a process of the former server holds the shared memory,
and as long as the number in `postmaster.pid` is that of any process of its user, because it takes that for the former
server. Process numbers are given again, soon where many processes start, so it could be any process of another stack.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from stack.errors import StackError
from stack.job import Job

_LOCK: Final = "postmaster.pid"
_LIMIT_S: Final = 60.0
_POLL_S: Final = 0.05


def clear_lock(data: Path, job: Job, *, limit_s: float = _LIMIT_S) -> None:
    """Wait until no process of a server of this data folder is left, and remove its lock file.

    Call it only if the server is known to have ended.

    Raises:
        StackError: a process does not end.
        CancelledWorkError: the work was cancelled.
    """
    if not (data / _LOCK).exists():
        return
    deadline = time.monotonic() + limit_s
    while left := _processes_in(data):
        if time.monotonic() > deadline:
            shown = ", ".join(map(str, left))
            raise StackError(f"processes of a former server still use {data}: end them ({shown})")
        job.pause(_POLL_S)
    (data / _LOCK).unlink(missing_ok=True)


def _processes_in(folder: Path) -> list[int]:
    """Return the processes that work in a folder, as each process of PostgreSQL does in that of its data."""
    place, found = folder.resolve(), []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):  # it has just ended, or belongs to another user
                if (process / "cwd").readlink() == place:
                    found.append(int(process.name))
    return sorted(found)
