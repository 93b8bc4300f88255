"""Row 17: Hypothesis searches for a history and a delivery that break the folds; no server is needed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import Final

from config.settings import environment_with
from stack.site import REPOSITORY
from tests.faults.result import Result

TESTS: Final = ("tests/unit/model/test_order_restarts.py", "tests/unit/model/test_order_properties.py")
EXAMPLES: Final = {"quick": 1_000, "full": 20_000}
STEPS: Final = 50
LIMIT_S: Final = {"quick": 120.0, "full": 3_600.0}


def play(_: object, row: str, *, dose: str, seed: int, **rest: object) -> Result:
    """Run the properties with as many sequences as the dose says."""
    result = Result(row=row, fault="state machine (Hypothesis)", dose=dose, seed=seed)
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.faults.profiles", f"--hypothesis-seed={seed}", *TESTS]
    told = environment_with({"HYPOTHESIS_PROFILE": f"faults-{dose}"})
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=told, capture_output=True, text=True, timeout=LIMIT_S[dose], check=False
    )
    result.passed = ended.returncode == os.EX_OK
    result.lost = result.twice = 0 if result.passed else None
    result.invariants = {"I1": result.passed, "I2": result.passed, "truth": result.passed}
    result.notes = {"sequences": EXAMPLES[dose], "steps": STEPS, "pytest": _last_line(ended.stdout)}
    if not result.passed:
        result.examples = {"pytest": re.findall(r"^(?:FAILED|E  ) .*", ended.stdout, re.M)[:10]}
    result.seconds = round(time.monotonic() - began, 1)
    return result


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
