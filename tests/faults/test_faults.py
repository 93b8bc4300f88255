"""Goal: the faults that a deployment meets first lose and repeat nothing.

Method: row 1 of the table on every run, rows 4, 8, 9, 18 and 20 every night, each in its quick dose or a shorter one,
by the code of `make faults`, on one stack. A seed is printed with each row. Recovery has the limits of `run.py`, which
are for liveness.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.faults import report
from tests.faults.run import play
from tests.faults.table import TABLE
from tests.faults.testbed import FaultTestbed

NIGHTLY = (pytest.mark.nightly,)
ROWS = {"1": ()} | dict.fromkeys(("4", "8", "9", "18", "20"), NIGHTLY)


@pytest.fixture(scope="module")
def testbed() -> Iterator[FaultTestbed]:
    """Servers for all rows."""
    with FaultTestbed.opened(print) as testbed:
        yield testbed


@pytest.mark.parametrize("row", [pytest.param(row, marks=marks, id=TABLE[row].name) for row, marks in ROWS.items()])
def test_a_fault_loses_and_repeats_nothing(testbed: FaultTestbed, row: str) -> None:
    result = play(testbed, row, dose="short", seed=secrets.randbelow(10**6), mutant=None, say=print)
    print(report.line(result))
    assert result.passed, result.as_dict()
