"""Goal: the faults that a deployment meets first lose and repeat nothing, on every run of all tests.

Method: rows 1, 4, 8 and 9 of the table in their quick dose, by the code of `make faults`, on one stack. A seed is
printed with each row. Recovery has the limits of `run.py`, which are for liveness.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.faults import report
from tests.faults.ground import Ground
from tests.faults.run import play
from tests.faults.table import TABLE


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """Servers for all rows."""
    with Ground.opened(print) as ground:
        yield ground


@pytest.mark.parametrize("row", ["1", "4", "8", "9"], ids=lambda row: TABLE[row].name)
def test_a_fault_loses_and_repeats_nothing(ground: Ground, row: str) -> None:
    result = play(ground, row, dose="quick", seed=secrets.randbelow(10**6), mutant=None, say=print)
    print(report.line(result))
    assert result.passed, result.as_dict()
