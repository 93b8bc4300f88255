"""Goal: a starved process has the lowest priority in all its threads, and busy loops end with their block.

Method: a process with two threads is starved; `/proc` says what it has, and which children are left.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.starving import LEAST_IMPORTANT, busy_processors, starve

PROGRAM = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(1, flush=True)
input()
"""


def test_all_threads_get_the_lowest_priority() -> None:
    program = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        starve(process.pid)
        threads = [int(thread.name) for thread in Path(f"/proc/{process.pid}/task").iterdir()]
        found = [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads]
        process.communicate(b"\n")
    assert found == [LEAST_IMPORTANT] * 2


def test_busy_loops_end_with_the_block() -> None:
    def children() -> set[str]:
        return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())

    before = children()
    with busy_processors():
        assert len(children() - before) == os.cpu_count()
    assert children() == before
