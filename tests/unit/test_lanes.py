"""Goal: one lane's end never hides the other's, and the exit code says whether anything failed.

Method: the lanes' commands are replaced by short shell commands; they run as real processes.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import lanes

IGNORE = "--ignore="
UseCommands = Callable[[Mapping[str, str]], None]


@pytest.fixture
def use_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> UseCommands:
    """Replace the command of each stage by a shell command."""
    monkeypatch.setattr(lanes, "FOLDER", tmp_path)

    def use(commands: Mapping[str, str]) -> None:
        monkeypatch.setattr(lanes, "command_of", lambda stage, **_: ("sh", "-c", commands[stage]))

    return use


def test_a_lane_that_fails_does_not_end_the_other_but_the_run_fails(
    use_commands: UseCommands, capfd: pytest.CaptureFixture[str]
) -> None:
    use_commands({"streams": "echo '1 failed'; exit 3", "lake": "sleep 0.5; echo '7 passed'"})
    results = lanes.side_by_side(["streams", "lake"])
    assert [(each.stage, each.code) for each in results] == [("streams", 3), ("lake", 0)]
    assert lanes.exit_code(results) == 3
    output = capfd.readouterr().out
    assert output.index("1 failed") < output.index("7 passed")


def test_a_stage_that_fails_keeps_the_next_from_starting(use_commands: UseCommands) -> None:
    use_commands({"check": "true", "unit": "exit 1", "fetch": "true"})
    results = lanes.one_after_the_other(["check", "unit", "fetch"])
    assert [(each.stage, each.code) for each in results] == [("check", 0), ("unit", 1)]
    assert lanes.exit_code(results) == 1


def test_a_first_stage_that_fails_keeps_the_lanes_from_starting(
    use_commands: UseCommands, heeds_interrupts: None
) -> None:
    use_commands({"check": "exit 4", "unit": "true", "fetch": "true"})  # a lane that started would be a KeyError
    assert lanes.main([]) == 4


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """As `main` does: tests that run in the background of a script ignore the signal otherwise."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interrupts")
def test_an_interrupt_ends_all_lanes_gracefully_and_fails_the_run(
    use_commands: UseCommands, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = "trap 'echo ended gracefully; exit 2' INT; touch {}; while true; do sleep 0.05; done"
    started, looked = [tmp_path / lane for lane in lanes.LANES], threading.Event()
    use_commands({lane: ending.format(path) for lane, path in zip(lanes.LANES, started, strict=True)})

    def interrupt() -> None:
        while not all(path.exists() for path in started):
            threading.Event().wait(0.02)
        looked.wait()  # or the interrupt could meet the start of the last lane
        os.kill(os.getpid(), signal.SIGINT)

    def sleep(seconds: float) -> None:
        looked.set()
        time.sleep(seconds)

    monkeypatch.setattr(lanes, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    threading.Thread(target=interrupt).start()
    results = lanes.side_by_side(lanes.LANES)
    assert sorted(each.code for each in results) == [*(2 for _ in lanes.LANES), 130]
    assert lanes.exit_code(results) != 0
    assert capfd.readouterr().out.count("ended gracefully") == len(lanes.LANES)


def test_a_process_that_is_killed_fails_the_run(use_commands: UseCommands) -> None:
    use_commands({"lake": "kill -KILL $$"})
    assert lanes.exit_code(lanes.side_by_side(["lake"])) == signal.SIGKILL


def test_a_suite_without_nightly_tests_is_no_failure() -> None:
    nothing = [lanes.Result(stage="lake", code=5, wall_s=1.0, cpu_s=1.0)]
    assert lanes.exit_code(nothing, nightly=True) == 0
    assert lanes.exit_code(nothing) == 5


def test_the_summary_has_each_stage_and_no_word_that_a_reader_of_pytests_last_line_could_take_for_it() -> None:
    results = [lanes.Result(stage="unit", code=0, wall_s=30.0, cpu_s=48.0)]
    text = lanes.summary(results, 36.0)
    assert re.search(r"^unit +0\.5 +0\.8 +0$", text, re.M)
    assert "passed" not in text


@pytest.mark.parametrize("stage", lanes.SUITES)
def test_every_suite_leaves_nightly_tests_to_the_night(stage: str) -> None:
    assert "not nightly" in lanes.command_of(stage)
    at_night = lanes.command_of(stage, nightly=True)
    assert ("HYPOTHESIS_PROFILE=nightly" if stage == "unit" else "nightly") in at_night
    assert "not nightly" not in at_night
    assert all((lanes.ROOT / path.removeprefix(IGNORE)).exists() for path in lanes.SUITES[stage])


def test_every_test_belongs_to_exactly_one_suite() -> None:
    files = (lanes.ROOT / "tests").rglob("test_*.py")
    assert not [file for file in files if sum(_has(suite, file) for suite in lanes.SUITES.values()) != 1]


def _has(suite: Sequence[str], file: Path) -> bool:
    ignored = [lanes.ROOT / path.removeprefix(IGNORE) for path in suite if path.startswith(IGNORE)]
    covered = [lanes.ROOT / path for path in suite if not path.startswith(IGNORE)]
    return any(map(file.is_relative_to, covered)) and not any(map(file.is_relative_to, ignored))


def test_lanes_that_have_less_to_do_yield(use_commands: UseCommands, tmp_path: Path) -> None:
    use_commands(dict.fromkeys(lanes.LANES, "sleep 0.2; cat /proc/self/autogroup"))
    lanes.side_by_side(lanes.LANES)
    if not Path("/proc/self/autogroup").exists():
        return
    nice = {lane: int((tmp_path / f"{lane}.log").read_text().split()[-1]) for lane in lanes.LANES}
    assert nice == {lane: lanes.YIELDING.get(lane, 0) for lane in lanes.LANES}
