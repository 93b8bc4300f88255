"""Goal: no fault of a worker or a server makes the warehouse or the figures other than what the records say.

Method: the rows of the table of faults in their quick dose, every night. On every push, tests/streams/warehouse and
tests/streams/test_figures.py kill and suspend workers, and take their partitions over.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.faults import report
from tests.faults.sinks.run import play_sink
from tests.faults.sinks.table import SINK_MUTANTS, SINK_TABLE
from tests.faults.sinks.testbed import SinkFaultTestbed

pytestmark = pytest.mark.nightly
TASKS = [*((row, None) for row in SINK_TABLE), *((row, mutant) for mutant, row in SINK_MUTANTS.items())]


@pytest.fixture(scope="module")
def testbed() -> Iterator[SinkFaultTestbed]:
    """Servers for all rows."""
    with SinkFaultTestbed.opened(print) as testbed:
        yield testbed


@pytest.mark.parametrize(("row", "mutant"), TASKS)
def test_a_fault_of_a_sink_loses_nothing(testbed: SinkFaultTestbed, row: str, mutant: str | None) -> None:
    result = play_sink(testbed, row, dose="quick", seed=secrets.randbelow(10**6), mutant=mutant, say=print)
    print(report.line(result))
    assert result.passed, result.as_dict()
