"""The end of a benchmark: no process that it started is left, neither running nor as a zombie."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def no_process_left() -> Iterator[None]:
    """Adopt the processes whose parents have ended; after the block, kill all that are left, and collect their ends.

    Otherwise, the Java process of a killed program goes to the first process of the machine. In a container that is
    often a program that collects nobody's end, so it would stay a zombie for as long as the container lives.
    """
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this process cannot adopt orphans")
    try:
        yield
    finally:
        while children := _children():  # an adopted child may have had children, which are ours from its end on
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def _children() -> list[int]:
    tasks = Path("/proc/self/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
