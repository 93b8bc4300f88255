"""Run one row of the table of faults, and return the result.

The clock of a recovery starts with the last fault of the row (of an outage: with its end). `first_progress_s` ends with
the next order that becomes visible, `every_partition_s` when every partition has shown one. The load ends then, and
`lag_zero_s` ends when the group has committed every change of the shop, including those that wait in the connector.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from demo.watch import FinalWatch
from stack.errors import StackError
from tests.faults.fault_shop import FaultShop
from tests.faults.judgement import EXAMPLES, Judgement, judge
from tests.faults.mutants import MUTANTS
from tests.faults.scenario import Dose, Scenario
from tests.faults.table import TABLE
from tests.faults.testbed import FaultTestbed, Say

PROGRESS_LIMIT_S: Final = 60.0
MUTANT_LIMIT_S: Final = 10.0
"""A mutant may never go on, and is not judged by that."""

LAG_LIMIT_S: Final = 120.0


@dataclass(kw_only=True)
class Result:
    """Result of one row; for a mutant, `passed` means that it was caught."""

    row: str
    fault: str
    dose: str
    seed: int
    mutant: str | None = None
    lost: int | None = None
    twice: int | None = None
    invariants: dict[str, bool] = field(default_factory=dict)
    first_progress_s: float | None = None
    every_partition_s: float | None = None
    lag_zero_s: float | None = None
    passed: bool = False
    seconds: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Convert to JSON data; `mutant` only if there is one."""
        fields = asdict(self)
        return {name: value for name, value in fields.items() if name != "mutant" or value is not None}


def play(testbed: FaultTestbed, row: str, *, dose: str, seed: int, mutant: str | None, say: Say) -> Result:
    """Run a row with the real code or a mutant; effects of a fault never raise."""
    what = TABLE[row]
    result = Result(row=row, fault=what.name, dose=dose, seed=seed, mutant=mutant)
    say(f"row {row}: {what.name}, {dose}, seed {seed}" + (f", mutant {mutant}" if mutant else ""))
    began = time.monotonic()
    try:
        judgement = _play(testbed, result, what.dose(dose), say)
        _fill(result, judgement)
    except (TimeoutError, StackError, AssertionError, OSError) as error:
        result.error = f"{type(error).__name__}: {error}"
        say(f"  {result.error}")
    finally:
        if not result.passed:
            say(f"  logs: {testbed.keep_logs(f'{row}-{mutant or dose}')}")
        testbed.heal()
    result.seconds = round(time.monotonic() - began, 1)
    return result


def _play(testbed: FaultTestbed, result: Result, dose: Dose, say: Say) -> Judgement:
    what = TABLE[result.row]
    shop = FaultShop(testbed.environment, result.seed, salt=f"{result.row}/{result.mutant}", deletes=what.deletes)
    testbed.clear(shop)
    settings = {**what.settings, "GUARD": "off" if result.mutant else "on"}
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
