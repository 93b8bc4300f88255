"""Run one row of the sinks' table of faults: SQL says whether their content follows from the records."""

from __future__ import annotations

import time
from typing import Final

from tests.faults.judgement import EXAMPLES
from tests.faults.result import Result, Say, played
from tests.faults.sinks.oracle import wrong_figures, wrong_rows
from tests.faults.sinks.table import FIGURES, SINK_TABLE, WAREHOUSE
from tests.faults.sinks.testbed import SinkFaultTestbed, SinkScenario, scenario_of

CAUGHT_UP_S: Final = 60.0
MUTANT_LIMIT_S: Final = 10.0
"""A mutant may never catch up, and is not judged by that."""


def play_sink(testbed: SinkFaultTestbed, row: str, *, dose: str, seed: int, mutant: str | None, say: Say) -> Result:
    """Run a row with the real code or a mutant; effects of a fault never raise."""
    what = SINK_TABLE[row]
    result = Result(row=row, fault=what.name, dose=dose, seed=seed, mutant=mutant)
    with (
        played(result, testbed, say),
        scenario_of(testbed, what.dose(dose), name=row, seed=seed, mutant=mutant or "none", say=say) as scenario,
    ):
        with scenario.shop.live(), scenario.watched():
            try:
                what.play(scenario)
            except TimeoutError as error:
                scenario.faults.append(str(error))
        _judge(result, scenario)
    return result


def _judge(result: Result, scenario: SinkScenario) -> None:
    judged = SINK_TABLE[result.row].judged
    result.lost = result.twice = 0
    result.invariants["fault"] = not scenario.faults
    result.examples["fault"] = scenario.faults[:EXAMPLES]
    if WAREHOUSE in judged:
        _judge_warehouse(result, scenario)
    if FIGURES in judged:
        _judge_figures(result, scenario)
    result.notes |= {"records": len(scenario.shop.history), "orders": len(scenario.shop.order_changes)}
    is_right = result.invariants.get("rows", True) and result.invariants.get("figures", True)
    result.passed = not is_right if result.mutant else all(result.invariants.values())


def _judge_warehouse(result: Result, scenario: SinkScenario) -> None:
    """Judge every moment, and the last one by all records."""
    began = time.monotonic()
    is_done = scenario.until_caught_up(MUTANT_LIMIT_S if result.mutant else CAUGHT_UP_S)
    result.lag_zero_s = round(time.monotonic() - began, 1) if is_done else None
    scenario.look()
    with scenario.connect() as connection:
        wrong = wrong_rows(connection, scenario.shop.history, scenario.moments)
    last = [each for each in wrong if each.moment == len(scenario.moments) - 1]
    result.lost = sum(each.expected is not None for each in last)
    result.twice = sum(each.expected is None for each in last)
    result.notes["moments"] = len(scenario.moments)
    result.invariants |= {"rows": not wrong, "lag": is_done}
    result.examples["rows"] = list(map(str, wrong[:EXAMPLES]))


def _judge_figures(result: Result, scenario: SinkScenario) -> None:
    deadline = time.monotonic() + CAUGHT_UP_S
    while True:
        with scenario.connect() as connection:
            wrong = wrong_figures(connection, scenario.shop.order_changes, scenario.counted())
        if not wrong or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert result.lost is not None
    assert result.twice is not None
    result.lost += sum((expected or 0) > (found or 0) for _, expected, found in wrong)
    result.twice += sum((expected or 0) < (found or 0) for _, expected, found in wrong)
    result.invariants["figures"] = not wrong
    result.examples["figures"] = list(map(str, wrong[:EXAMPLES]))
