"""Goal: a benchmark leaves no process behind, after a run and after a failure.

Method: a process of its own starts a child that ends and is not waited for, one that runs on, and one that ends and
leaves a child of its own; then it looks for all of them, as zombies are gone once their parent is.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from stack.site import REPOSITORY

PROGRAM = """
import subprocess, sys
from pathlib import Path
from bench.ending import no_process_left

parent = "import subprocess; print(subprocess.Popen(['sleep', '600'], stdout=2, start_new_session=True).pid)"
started = []
try:
    with no_process_left():
        started += [subprocess.Popen(["true"]).pid, subprocess.Popen(["sleep", "600"]).pid]
        started.append(int(subprocess.run([sys.executable, "-c", parent], stdout=subprocess.PIPE).stdout))
        if sys.argv[1] == "fail":
            raise RuntimeError("a fault of ours")
finally:
    print(len(started), [pid for pid in started if Path(f"/proc/{pid}").exists()])
"""


@pytest.mark.parametrize(("ending", "code"), [("run", 0), ("fail", 1)])
def test_no_process_is_left(ending: str, code: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, ending], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout) == (code, "3 []\n"), result.stderr
