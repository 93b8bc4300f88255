"""Goal: no fault of a PostgreSQL source, its log or its connector loses a row or brings a deleted one back.

Method: the rows of the table of faults in their quick dose, every night. On every push,
tests/streams/ops/test_postgres_source.py loses places in the log and holds transactions open, and
tests/lake/test_postgres_types.py finds and repairs rows that a connector lost.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.faults import report
from tests.faults.source.run import play_source
from tests.faults.source.table import SOURCE_MUTANTS, SOURCE_TABLE
from tests.faults.source.testbed import SourceFaultTestbed

pytestmark = pytest.mark.nightly
TASKS = [*((row, None) for row in SOURCE_TABLE), *((row, mutant) for mutant, row in SOURCE_MUTANTS.items())]


@pytest.fixture(scope="module")
def testbed() -> Iterator[SourceFaultTestbed]:
    """Servers for all rows."""
    with SourceFaultTestbed.opened(print) as testbed:
        yield testbed


@pytest.mark.parametrize(("row", "mutant"), TASKS)
def test_a_fault_of_a_postgres_source_loses_nothing(testbed: SourceFaultTestbed, row: str, mutant: str | None) -> None:
    result = play_source(testbed, row, dose="quick", seed=secrets.randbelow(10**6), mutant=mutant, say=print)
    print(report.line(result))
    assert result.passed, result.as_dict()
