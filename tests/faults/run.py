"""Run one row of the table of faults, and return the result.

The clock of a recovery starts with the last fault of the row (of an outage: with its end). `first_progress_s` ends with
the next order that becomes visible, `every_partition_s` when every partition has shown one. The load ends then, and
`lag_zero_s` ends when the group has committed every change of the shop, including those that wait in the connector.
"""

from __future__ import annotations

import random
from contextlib import ExitStack, nullcontext
from typing import Final

from demo.watch import FinalWatch
from tests.faults.fault_shop import FaultShop
from tests.faults.judgement import EXAMPLES, Judgement, judge
from tests.faults.mutants import MUTANTS
from tests.faults.result import Result, Say, played
from tests.faults.scenario import Dose, Scenario
from tests.faults.table import TABLE
from tests.faults.testbed import FaultTestbed

PROGRESS_LIMIT_S: Final = 60.0
MUTANT_LIMIT_S: Final = 10.0
"""A mutant may never go on, and is not judged by that."""

LAG_LIMIT_S: Final = 120.0


def play(testbed: FaultTestbed, row: str, *, dose: str, seed: int, mutant: str | None, say: Say) -> Result:
    """Run a row with the real code or a mutant; effects of a fault never raise."""
    what = TABLE[row]
    result = Result(row=row, fault=what.name, dose=dose, seed=seed, mutant=mutant)
    with played(result, testbed, say):
        _fill(result, _play(testbed, result, what.dose(dose), say))
    return result


def _play(testbed: FaultTestbed, result: Result, dose: Dose, say: Say) -> Judgement:
    what = TABLE[result.row]
    shop = FaultShop(testbed.environment, result.seed, salt=f"{result.row}/{result.mutant}", deletes=what.deletes)
    testbed.clear(shop)
    settings = {**what.settings, "GUARD": "off" if result.mutant else "on"}
    settings |= MUTANTS[result.mutant].settings if result.mutant else {}
    if what.proxied:
        settings |= testbed.network.workers(testbed.environment)
    pool = testbed.pool(("tests.faults.mutants", result.mutant or "none"), settings)
    with ExitStack() as stack:
        stack.callback(pool.kill)
        stack.callback(pool.heal)
        stack.callback(testbed.network.heal)
        watch = stack.enter_context(FinalWatch(testbed.kafka.bootstrap))
        draw = random.Random(f"{result.row}/{result.seed}")  # noqa: S311
        scenario = Scenario(testbed, pool, shop, watch, dose, draw, say, is_swept=result.mutant != "no_sweep")
        scenario.has_peer = result.mutant is None
        stack.enter_context(scenario.beside)
        pool.start()
        pool.settle()
        with shop.live() if what.live else nullcontext():
            try:
                what.play(scenario)
            finally:
                pool.heal()
            if what.live:
                result.first_progress_s, result.every_partition_s = scenario.progress_s(
                    MUTANT_LIMIT_S if result.mutant else PROGRESS_LIMIT_S
                )
        result.lag_zero_s = scenario.lag_zero_s(LAG_LIMIT_S)
        scenario.beside.close()
        pool.stop()
        judgement = judge(scenario)
    late = [] if result.every_partition_s is not None or not what.live else [f"no progress in {PROGRESS_LIMIT_S:.0f} s"]
    in_time = result.lag_zero_s is not None and result.lag_zero_s <= LAG_LIMIT_S
    late += [] if in_time else [f"lag is not 0 after {LAG_LIMIT_S:.0f} s"]
    judgement.add("I5", late)
    judgement.add("fault", [f"{pool.ungraceful} workers did not end gracefully"] if pool.ungraceful else [])
    result.notes = {"orders": shop.placed, "injected": len(shop.injected), **scenario.notes}
    return judgement


def _fill(result: Result, judgement: Judgement) -> None:
    result.lost, result.twice = judgement.lost, judgement.twice
    result.invariants = {name: not faults for name, faults in judgement.faults.items()}
    result.examples = {name: faults[:EXAMPLES] for name, faults in judgement.faults.items() if faults}
    if result.mutant is None:
        result.passed = not judgement.broken
    else:
        result.passed = MUTANTS[result.mutant].caught_by <= set(judgement.broken)
