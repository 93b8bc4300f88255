"""Run the test stages of the project and report each one's time and exit code.

    python -m tests.lanes                  every stage: check, unit and fetch together, then the four lanes together
    python -m tests.lanes unit             some stages only, one after the other, with their output as it comes
    python -m tests.lanes --nightly        the tests marked `nightly`, which the other calls leave out, and the
                                           unit tests with ten times as many random examples

`check`, `unit` and `fetch` come first, side by side, and end the run when one of them fails, so that a broken fold is
reported in the first minute. Then the lanes run side by side: `orders` and `streams` mostly wait, `lake` computes in
one Java process, and `commands`, the lake's commands on real servers, waits half of its time. What runs side by side
writes to `.test/<stage>.log`, which is printed whole when the stage ends; one that fails does not stop the others.
JUnit reports are in `.test/<stage>.xml`. Ctrl-C ends all lanes with their servers.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / ".test"
CHECK: Final = "check"
FETCH: Final = "fetch"
APART: Final = ("tests/lake/test_encrypted_servers.py", "tests/lake/test_session_output.py")
"""They run Spark in processes of their own, so they go with the commands: the lake's lane is the longest."""

SUITES: Final[Mapping[str, Sequence[str]]] = {
    "unit": ("tests/unit", "tests/agents", "tests/test_architecture.py", "tests/test_docs.py"),
    "orders": ("tests/streams/orders",),
    "streams": ("tests/streams", "tests/faults", "--ignore=tests/streams/orders"),
    "lake": ("tests/lake", "--ignore=tests/lake/commands", *(f"--ignore={path}" for path in APART)),
    "commands": ("tests/lake/commands", *APART),
}
PARALLEL: Final[Mapping[str, Sequence[str]]] = {
    # The others start servers, which tests of a package share.
    "unit": ("--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal")
}
FIRST: Final = (CHECK, "unit", FETCH)
LANES: Final = ("orders", "streams", "lake", "commands")
YIELDING: Final[Mapping[str, int]] = {"streams": 2, "commands": 4}
"""Nice values of the lanes that have less to do, so that all lanes end at about the same time."""
STAGES: Final = (*FIRST, *LANES)

_SLOWEST = 25
_POLL_SECONDS = 0.2
_PROGRESS_SECONDS = 60.0
_END_LIMIT_SECONDS = 90.0
_INTERRUPTED = 130
_NOTHING_COLLECTED = 5  # pytest's exit code


@dataclass(frozen=True, kw_only=True)
class Result:
    """One stage that has ended: its exit code, wall-clock seconds and CPU seconds, its processes included."""

    stage: str
    code: int
    wall_s: float
    cpu_s: float


class Run:
    """A process of one stage, in a session of its own: Ctrl-C is for us, and we pass it on."""

    def __init__(self, stage: str, *, nightly: bool, log: Path | None) -> None:
        self.stage = stage
        self.log = log
        self._began = time.monotonic()
        # The kernel ends it with us, even when we are killed.
        command = ("setpriv", "--pdeathsig", "TERM", *command_of(stage, nightly=nightly))
        if log is None:
            self._process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
        else:
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    command, cwd=ROOT, start_new_session=True, stdout=output, stderr=subprocess.STDOUT
                )
        _lower_priority(self._process.pid, YIELDING.get(stage, 0))

    def result(self) -> Result | None:
        """The result if the process has ended."""
        pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        wall_s = time.monotonic() - self._began
        return Result(stage=self.stage, code=code, wall_s=wall_s, cpu_s=usage.ru_utime + usage.ru_stime)

    def interrupt(self) -> None:
        """Ask the stage to end as Ctrl-C does: pytest ends its fixtures, and with them the servers."""
        os.kill(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        """End the stage at once."""
        os.killpg(self._process.pid, signal.SIGKILL)


def command_of(stage: str, *, nightly: bool = False) -> Sequence[str]:
    """The command of one stage."""
    if stage == CHECK:
        return ("make", "--jobs=2", "--output-sync", "--no-print-directory", CHECK)
    if stage == FETCH:
        return (sys.executable, "-m", "tests.support.fetch")
    is_unit = stage == "unit"
    examples = ("env", "HYPOTHESIS_PROFILE=nightly") if nightly and is_unit else ()
    marked = () if nightly and is_unit else ("-m", "nightly" if nightly else "not nightly")
    report = f"--junitxml={FOLDER / stage}.xml"
    options = (*marked, f"--durations={_SLOWEST}", report, *PARALLEL.get(stage, ()))
    return (*examples, sys.executable, "-m", "pytest", *options, *SUITES[stage])


def one_after_the_other(stages: Sequence[str], *, nightly: bool = False) -> list[Result]:
    """Run stages until one fails; their output is shown as it comes."""
    results: list[Result] = []
    for stage in stages:
        _say(f"--- {stage}")
        results += finish([Run(stage, nightly=nightly, log=None)])
        if results[-1].code:
            break
    return results


def side_by_side(stages: Sequence[str], *, nightly: bool = False) -> list[Result]:
    """Run stages at the same time, each to its end; a log is printed whole when its stage ends."""
    _say(f"--- {', '.join(stages)} side by side; output in {FOLDER.name}/")
    return finish([Run(stage, nightly=nightly, log=FOLDER / f"{stage}.log") for stage in stages])


def finish(runs: Sequence[Run]) -> list[Result]:
    """Wait for all runs; an interrupt is passed on, and a second one, or a limit, kills."""
    remaining, results = list(runs), list[Result]()
    interrupted_at, reported_at = 0.0, time.monotonic()
    while remaining:
        try:
            for run in [*remaining]:
                result = run.result()
                if result is not None:
                    remaining.remove(run)
                    results.append(result)
                    _print_log(run, result)
            if runs[0].log is not None and time.monotonic() - reported_at >= _PROGRESS_SECONDS:
                reported_at = time.monotonic()
                _print_progress(remaining)
            if interrupted_at and time.monotonic() - interrupted_at >= _END_LIMIT_SECONDS:
                _kill(remaining)
            time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            if interrupted_at:
                _kill(remaining)
            interrupted_at = time.monotonic()
            for run in remaining:
                run.interrupt()
    if interrupted_at:
        results.append(Result(stage="interrupted", code=_INTERRUPTED, wall_s=0.0, cpu_s=0.0))
    return results


def exit_code(results: Sequence[Result], *, nightly: bool = False) -> int:
    """Zero if every stage succeeded, else that of the last failure; a suite without nightly tests is no failure."""
    allowed = (0, _NOTHING_COLLECTED) if nightly else (0,)
    return next((abs(result.code) for result in reversed(results) if result.code not in allowed), 0)


def summary(results: Sequence[Result], seconds: float) -> str:
    """One line per stage: minutes on the clock, minutes of CPU, exit code."""
    rows = [f"{'stage':<12}{'minutes':>8}{'CPU min':>9}  exit code"]
    rows += [f"{each.stage:<12}{each.wall_s / 60:>8.1f}{each.cpu_s / 60:>9.1f}  {each.code}" for each in results]
    rows.append(f"{'together':<12}{seconds / 60:>8.1f}{sum(each.cpu_s for each in results) / 60:>9.1f}")
    return "\n".join(rows)


def _lower_priority(pid: int, nice: int) -> None:
    """Lower the priority of a stage with all that it starts: Linux shares the processors between sessions first."""
    with contextlib.suppress(OSError):  # a kernel may share between processes only
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def _kill(runs: Sequence[Run]) -> None:
    for run in runs:
        run.kill()


def _print_log(run: Run, result: Result) -> None:
    if run.log is not None:
        _say(f"\n--- {run.stage}: ended with exit code {result.code} after {result.wall_s / 60:.1f} minutes")
        _say(run.log.read_text(errors="replace"))


def _print_progress(runs: Sequence[Run]) -> None:
    for run in runs:
        lines = run.log.read_text(errors="replace").strip().splitlines() if run.log else []
        _say(f"    {run.stage:<8} {lines[-1][:120] if lines else ''}")


def _say(text: str) -> None:
    print(text, flush=True)


def _end_like_an_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.lanes", description="Run the test stages.")
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"{', '.join(STAGES)}; all by default")
    parser.add_argument("--nightly", action="store_true", help="the tests marked nightly instead of all others")
    options = parser.parse_args(arguments)
    unknown = [stage for stage in options.stages if stage not in STAGES]
    if unknown:
        parser.error(f"unknown stage {unknown[0]!r}: use {', '.join(STAGES)}")
    FOLDER.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, _end_like_an_interrupt)
    # A program started in the background of a script ignores this signal, and so would everything it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    if options.stages:
        results = one_after_the_other(options.stages, nightly=options.nightly)
    else:
        first = [stage for stage in FIRST if stage != CHECK or not options.nightly]
        results = side_by_side(first, nightly=options.nightly)
        if not exit_code(results):
            results += side_by_side(LANES, nightly=options.nightly)
    _say("\n" + summary(results, time.monotonic() - began))
    return exit_code(results, nightly=options.nightly)


if __name__ == "__main__":
    sys.exit(main())
