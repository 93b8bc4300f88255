"""Run one row of the lake's table of faults, and return the result."""

from __future__ import annotations

import random

from tests.faults.judgement import EXAMPLES
from tests.faults.lake.lake_judgement import LakeJudgement
from tests.faults.lake.scenario import LakeScenario
from tests.faults.lake.table import LAKE_MUTANTS, LAKE_TABLE
from tests.faults.lake.testbed import LakeFaultTestbed
from tests.faults.result import Result, Say, played

EXAMPLE_LENGTH = 400


def play_lake(testbed: LakeFaultTestbed, row: str, *, dose: str, seed: int, mutant: str | None, say: Say) -> Result:
    """Run a row with the real code or a mutant; effects of a fault never raise."""
    what = LAKE_TABLE[row]
    result = Result(row=row, fault=what.name, dose=dose, seed=seed, mutant=mutant)
    draw = random.Random(f"{row}/{mutant}/{seed}")  # noqa: S311 - faults by chance, no secrets
    scenario = LakeScenario(testbed, what.dose(dose), draw, say, mutant or "none")
    result.notes = scenario.notes
    with played(result, testbed, say):
        what.play(scenario)
        _fill(result, scenario.judgement)
    return result


def _fill(result: Result, judgement: LakeJudgement) -> None:
    result.lost, result.twice = judgement.lost, judgement.twice
    result.invariants = {name: not faults for name, faults in judgement.faults.items()}
    result.examples = {
        name: [fault[:EXAMPLE_LENGTH] for fault in faults[:EXAMPLES]]
        for name, faults in judgement.faults.items()
        if faults
    }
    if result.mutant is None:
        result.passed = not judgement.broken
    else:
        result.passed = LAKE_MUTANTS[result.mutant].caught_by <= set(judgement.broken)
