"""What happens to runs: row 13 and its kin."""

from __future__ import annotations

import threading
from typing import Final

from tests.faults.lake.scene import TABLES, LakeScene
from tests.support.lake.testbed import Answer

MOMENTS: Final = ("before", "during", "after")
VICTIMS: Final = ("both", "python", "java")
OVERTAKEN: Final = "another run wrote the same rows meanwhile"


def kill(scene: LakeScene) -> None:
    """SIGKILL a run in each layer: before a commit, in the middle of a write, or after a commit; its Python, its Java,
    or both. Readers see nothing of it, and the next run brings all of it at once.
    """
    if scene.mutant != "none":
        _kill(scene, "bronze", "before", "both")
        return
    moments, victims = scene.turns(MOMENTS), scene.turns(VICTIMS)
    for _ in range(scene.dose.times):
        for layer in TABLES:
            _kill(scene, layer, next(moments), next(victims))
        next(moments)  # another one for each layer


def _kill(scene: LakeScene, layer: str, moment: str, victim: str) -> None:
    scene.change()
    place, before = scene.place(layer), scene.look()
    run = scene.start_run(stop_at=f"{'after' if moment == 'after' else 'before'} {place}")
    with scene.readers() as seen:
        run.wait_frozen()
        if moment == "during":
            run.resume()
            scene.pause(0.02, 0.5)
        run.kill(victim)
        run.resume()
        scene.struck(f"killed {victim} {moment} the commit of {place}")
        if victim == "java":
            scene.expect_error(run.wait(), "Spark has ended")
    is_hidden = len(seen) == 1 and scene.look() == before
    scene.expect("readers", is_hidden, f"a killed run is visible: {seen}")
    _repair_at_once(scene)
    scene.expect("readers", scene.look() != before, "the next run is not visible")
    scene.judge()
    run.wait()
    scene.expect("fault", run.has_ended(), "the Java of a killed run goes on")


def _repair_at_once(scene: LakeScene) -> None:
    with scene.readers() as seen:
        scene.repair()
    scene.expect("readers", len(seen) == 2, f"not the state before, then the state after: {seen}")


def two_at_once(scene: LakeScene) -> None:
    """Two runs at once: the second is refused, or waits; and without Redis they have only the commits between them."""
    house = scene.ground.house
    for _ in range(scene.dose.times):
        scene.change()
        before = len(house.manifests())
        with scene.readers() as seen:
            run = scene.start_run()
            run.wait_said("→ bronze")
            scene.expect_error(house.batch("run", code=None), "another run of project_db is at work (process ")
            waited = house.batch("run", "--wait", code=None)
        scene.struck("two runs: one refused, one that waited")
        told = f"{waited.code}: {waited.text[-300:]}"
        scene.expect("fault", "waiting for another run" in waited.text and waited.code == 0, f"did not wait: {told}")
        scene.expect("fault", "nothing new, no table was written" in waited.text, f"did it again: {told}")
        first = run.wait()
        scene.expect("fault", first.code == 0, f"the first run fails: {first.text[-500:]}")
        scene.expect("fault", len(house.manifests()) == before + 2, "not two runs more")
        scene.expect("readers", len(seen) == 2, f"not the state before, then the state after: {seen}")
        scene.judge()
        _without_lease(scene)


def _without_lease(scene: LakeScene) -> None:
    house, answers = scene.ground.house, list[Answer]()
    scene.change()
    house.stack.kill("redis")
    try:
        run = scene.start_run()
        run.wait_said("→ bronze")
        other = threading.Thread(target=lambda: answers.append(house.batch("run", code=None)))
        other.start()
        answers.append(run.wait())
        other.join()
    finally:
        house.stack.start("redis")
    scene.struck(f"two runs without Redis: exit codes {sorted(answer.code for answer in answers)}")
    for answer in answers:
        if answer.code:
            scene.expect_error(answer, OVERTAKEN)
    scene.repair()
    scene.judge()


def freeze(scene: LakeScene) -> None:
    """SIGSTOP a run until its lease has ended and another run has done its work, then SIGCONT: right before a commit,
    then wherever a random moment finds it in a write.
    """
    layers = scene.turns(list(TABLES))
    for number in range(scene.dose.times):
        layer = "bronze" if scene.mutant != "none" else next(layers)
        scene.change()
        place = scene.place(layer)
        run = scene.start_run(stop_at=f"before {place}")
        run.wait_frozen()
        is_in_write = number % 2 == 1
        if is_in_write:
            run.resume()
            scene.pause(0.02, 0.5)
            run.freeze()
        scene.struck(f"froze a run {'in the write of' if is_in_write else 'before the commit of'} {place}")
        _repair_at_once(scene)
        after = scene.look()
        run.resume()
        answer = run.wait()
        scene.struck(f"it went on and ended with exit code {answer.code}")
        scene.expect("readers", scene.look() == after, "what it did when it woke is visible")
        if answer.code:
            scene.expect_error(answer, OVERTAKEN)
        scene.judge()
        scene.repair()
    scene.judge()
