"""Run one row of a PostgreSQL source's table of faults: the topic, folded by position, has to equal the table."""

from __future__ import annotations

import random
import time
from typing import Final

from tests.faults.judgement import EXAMPLES
from tests.faults.result import Result, Say, played
from tests.faults.source.table import SOURCE_TABLE
from tests.faults.source.testbed import SourceFaultTestbed, SourceScenario

EQUAL_S: Final = 60.0


def play_source(testbed: SourceFaultTestbed, row: str, *, dose: str, seed: int, mutant: str | None, say: Say) -> Result:
    """Run a row; with the mutant, the order of changes is the LSN. Effects of a fault never raise."""
    what = SOURCE_TABLE[row]
    result = Result(row=row, fault=what.name, dose=dose, seed=seed, mutant=mutant)
    draw = random.Random(f"{row}/{seed}")  # noqa: S311 - faults by chance, no secrets
    with played(result, testbed, say), testbed.source() as source:
        scenario = SourceScenario(testbed, source, what.dose(dose), draw, say)
        what.play(scenario)
        _judge(result, scenario)
    return result


def _judge(result: Result, scenario: SourceScenario) -> None:
    """Compare the rows that the topic tells of with those of the table, once they are equal or after a limit."""
    source, deadline = scenario.source, time.monotonic() + EQUAL_S
    told = source.by_lsn if result.mutant else source.by_position
    while (found := told()) != (there := source.rows()) and not result.mutant and time.monotonic() < deadline:
        time.sleep(0.5)
    lost = [key for key, value in there.items() if found.get(key) != value]
    extra = sorted(found.keys() - there.keys())
    result.lost, result.twice, result.notes = len(lost), len(extra), scenario.notes
    result.invariants = {"equal": not (lost or extra), "fault": not scenario.faults}
    result.examples = {"equal": list(map(str, (*lost, *extra)))[:EXAMPLES], "fault": scenario.faults[:EXAMPLES]}
    holds = all(result.invariants.values())
    result.passed = not result.invariants["equal"] and result.invariants["fault"] if result.mutant else holds
