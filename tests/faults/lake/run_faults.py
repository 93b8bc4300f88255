"""Faults of runs: row 13 and related ones."""

from __future__ import annotations

import threading
from typing import Final

from tests.faults.lake.scenario import TABLES, LakeScenario
from tests.support.lake.testbed import Answer

MOMENTS: Final = ("before", "during", "after")
VICTIMS: Final = ("both", "python", "java")
OVERTAKEN: Final = "another run wrote the same rows first"


def kill(scenario: LakeScenario) -> None:
    """SIGKILL a run in each layer: before a commit, in the middle of a write, or after a commit; its Python, its Java,
    or both. Readers see nothing of it, and the next run brings all of it at once.
    """
    if scenario.mutant != "none":
        _kill(scenario, "bronze", "before", "both")
        return
    moments, victims = scenario.turns(MOMENTS), scenario.turns(VICTIMS)
    for _ in range(scenario.dose.times):
        for layer in TABLES:
            _kill(scenario, layer, next(moments), next(victims))
        next(moments)  # another one for each layer


def _kill(scenario: LakeScenario, layer: str, moment: str, victim: str) -> None:
    scenario.change()
    place, before = scenario.place(layer), scenario.look()
    run = scenario.start_run(stop_at=f"{'after' if moment == 'after' else 'before'} {place}")
    with scenario.readers() as seen:
        run.wait_frozen()
        if moment == "during":
            run.resume()
            scenario.pause(0.02, 0.5)
        run.kill(victim)
        run.resume()
        scenario.struck(f"killed {victim} {moment} the commit of {place}")
        if victim == "java":
            scenario.expect_error(run.wait(), "Spark ended")
    is_hidden = len(seen) == 1 and scenario.look() == before
    scenario.expect("readers", is_hidden, f"a killed run is visible: {seen}")
    _repair_at_once(scenario)
    scenario.expect("readers", scenario.look() != before, "the next run is not visible")
    scenario.judge()
    run.wait()
    scenario.expect("fault", run.has_ended(), "the Java of a killed run goes on")


def _repair_at_once(scenario: LakeScenario) -> None:
    with scenario.readers() as seen:
        scenario.repair()
    scenario.expect("readers", len(seen) == 2, f"not the state before, then the state after: {seen}")


def two_at_once(scenario: LakeScenario) -> None:
    """Two runs at once: the second is rejected, or waits; and without Redis they have only the commits between them."""
    lake = scenario.testbed.base
    for _ in range(scenario.dose.times):
        scenario.change()
        before = len(lake.manifests())
        with scenario.readers() as seen:
            run = scenario.start_run()
            run.wait_said("→ bronze")
            scenario.expect_error(lake.batch("run", code=None), "another run of project_db is in progress (process ")
            waited = lake.batch("run", "--wait", code=None)
        scenario.struck("two runs: one was rejected, one waited")
        told = f"{waited.code}: {waited.text[-300:]}"
        scenario.expect("fault", "waiting for another run" in waited.text and waited.code == 0, f"did not wait: {told}")
        scenario.expect("fault", "nothing new: no table was written" in waited.text, f"did it again: {told}")
        first = run.wait()
        scenario.expect("fault", first.code == 0, f"the first run fails: {first.text[-500:]}")
        scenario.expect("fault", len(lake.manifests()) == before + 2, "not two runs more")
        scenario.expect("readers", len(seen) == 2, f"not the state before, then the state after: {seen}")
        scenario.judge()
        _without_lease(scenario)


def _without_lease(scenario: LakeScenario) -> None:
    lake, answers = scenario.testbed.base, list[Answer]()
    scenario.change()
    lake.stack.kill("redis")
    try:
        run = scenario.start_run()
        run.wait_said("→ bronze")
        other = threading.Thread(target=lambda: answers.append(lake.batch("run", code=None)))
        other.start()
        answers.append(run.wait())
        other.join()
    finally:
        lake.stack.start("redis")
    scenario.struck(f"two runs without Redis: exit codes {sorted(answer.code for answer in answers)}")
    for answer in answers:
        if answer.code:
            scenario.expect_error(answer, OVERTAKEN)
    scenario.repair()
    scenario.judge()


def freeze(scenario: LakeScenario) -> None:
    """SIGSTOP a run until its lease has ended and another run has done its work, then SIGCONT: right before a commit,
    then wherever a random moment finds it in a write.
    """
    layers = scenario.turns(list(TABLES))
    for number in range(scenario.dose.times):
        layer = "bronze" if scenario.mutant != "none" else next(layers)
        scenario.change()
        place = scenario.place(layer)
        run = scenario.start_run(stop_at=f"before {place}")
        run.wait_frozen()
        is_in_write = number % 2 == 1
        if is_in_write:
            run.resume()
            scenario.pause(0.02, 0.5)
            run.freeze()
        scenario.struck(f"froze a run {'in the write of' if is_in_write else 'before the commit of'} {place}")
        _repair_at_once(scenario)
        after = scenario.look()
        run.resume()
        answer = run.wait()
        scenario.struck(f"it went on and ended with exit code {answer.code}")
        scenario.expect("readers", scenario.look() == after, "what it did when it woke is visible")
        if answer.code:
            scenario.expect_error(answer, OVERTAKEN)
        scenario.judge()
        scenario.repair()
    scenario.judge()
