"""A process with next to no processor time: the least important one, beside busy loops on every processor."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LEAST_IMPORTANT: Final = 19


def starve(pid: int) -> None:
    """Give all threads of a process the lowest priority, for good: only an administrator could raise it again.

    Where the kernel shares the processors among sessions first, its session gets the lowest priority too.
    """
    session = Path(f"/proc/{pid}/autogroup")
    if session.exists():
        session.write_text(str(LEAST_IMPORTANT))
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), LEAST_IMPORTANT)


@contextlib.contextmanager
def busy_processors() -> Iterator[None]:
    """Keep every processor busy inside the `with` block."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
