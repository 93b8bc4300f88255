"""Goal: a run that is frozen past its lease harms nothing, on every run of all tests.

Method: a row of the table of faults in its quick dose, by the code of `make faults`, on the shop of this folder. A seed
is printed. Runs that are killed, and a storage that is away, are in `test_whole_way.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.faults import report
from tests.faults.lake.ground import LakeGround
from tests.faults.lake.run import play_lake
from tests.faults.lake.table import LAKE_TABLE
from tests.integration.lake.house import House


@pytest.fixture(scope="module")
def ground(house: House) -> Iterator[LakeGround]:
    """The shop, after a run."""
    ground = LakeGround(house, print)
    house.until_archived()
    house.batch("run", "--wait")
    yield ground
    ground.close()


@pytest.mark.parametrize("row", ["13f"], ids=lambda row: LAKE_TABLE[row].name)
def test_a_fault_loses_and_repeats_nothing(ground: LakeGround, row: str) -> None:
    result = play_lake(ground, row, dose="quick", seed=secrets.randbelow(10**6), mutant=None, say=print)
    print(report.line(result))
    assert result.passed, result.as_dict()
