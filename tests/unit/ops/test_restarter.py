"""Goal: a command is restarted when it fails, ends on a signal, and never outlives its restarter.

Method: the restarter as its users run it, around small shell commands; pauses are shortened by its options.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.restarter import Pace
from stack.process import Process, ProcessState

LIVENESS_S = 20.0
FAST = ("--first-delay", "0.01", "--longest-delay", "0.02")
# Nothing the tests run counts as dying at once, so that a restarter goes on until it is told to stop.
PATIENT = (*FAST, "--quick-death", "0")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start_restarter(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "ops.restarter", *arguments]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True))
        return started[-1]

    yield start_restarter
    for process in started:
        with process:
            process.kill()


def ended(restarter: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Wait for the end of a restarter; its exit code and the lines it printed."""
    _, errors = restarter.communicate(timeout=LIVENESS_S)
    return restarter.returncode, errors.splitlines()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIVENESS_S
    while not condition():
        assert time.monotonic() < deadline, "not within the limit"
        time.sleep(0.005)


def written_pid(path: Path) -> int:
    """The process number that a command writes to a file as it starts."""
    texts = [""]

    def is_whole() -> bool:
        texts.append(path.read_text() if path.exists() else "")  # the next one empties the file before it writes
        return texts[-1].endswith("\n")

    eventually(is_whole)
    return int(texts[-1])


def test_a_command_that_dies_is_restarted_until_it_succeeds(start: Start, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    script = f'echo run >> {runs}; test "$(wc -l < {runs})" = 3'
    code, lines = ended(start(*FAST, "--", "sh", "-c", script))
    assert code == 0
    assert runs.read_text().splitlines() == ["run"] * 3
    assert [line.rpartition("; ")[2] for line in lines] == ["restarting in 0.01 s", "restarting in 0.02 s"]
    assert all(line.startswith("restarter: sh ended with exit code 1 after ") for line in lines)


def test_the_signal_that_ended_a_command_is_named(start: Start, tmp_path: Path) -> None:
    _, lines = ended(start(*FAST, "sh", "-c", f"test -e {tmp_path}/once || {{ : > {tmp_path}/once; kill -KILL $$; }}"))
    assert lines[0].startswith("restarter: sh was ended by SIGKILL after ")


def test_a_command_that_dies_at_once_five_times_in_a_row_is_given_up(start: Start) -> None:
    code, lines = ended(start(*FAST, "--", "sh", "-c", "exit 3"))
    assert code == 1
    assert len(lines) == 5
    assert re.search(r"giving up: .* 5 times in a row$", lines[-1])


def test_wrong_usage_is_not_tried_again(start: Start) -> None:
    assert ended(start(*FAST, "--", "sh", "-c", "exit 2")) == (2, [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_to_the_process_group_reaches_the_command_once_and_the_exit_code_is_the_commands(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    pid, stops = tmp_path / "pid", tmp_path / "stops"
    # It goes on for a while after the first signal, so that a second one would show.
    wait = f"while test ! -e {stops}; do sleep 0.01; done; sleep 0.1"
    script = f"trap 'echo stop >> {stops}' TERM INT; echo $$ > {pid}; {wait}; exit 7"
    restarter = start("--", "sh", "-c", script)
    written_pid(pid)
    os.killpg(restarter.pid, number)
    assert ended(restarter) == (7, [])
    assert stops.read_text() == "stop\n"


def test_an_interrupt_is_passed_on_from_a_background_job_of_a_shell_too(start: Start, tmp_path: Path) -> None:
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)  # what such a shell does to its background jobs
    try:
        restarter = start("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600")
    finally:
        signal.signal(signal.SIGINT, ignored)
    written_pid(tmp_path / "pid")
    restarter.send_signal(signal.SIGINT)
    assert ended(restarter) == (128 + signal.SIGINT, [])


def test_a_command_ended_by_the_signal_passed_on_gives_128_and_its_number(start: Start, tmp_path: Path) -> None:
    restarter = start("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600")
    written_pid(tmp_path / "pid")
    restarter.terminate()
    assert ended(restarter) == (128 + signal.SIGTERM, [])


def test_a_stop_signal_during_a_pause_ends_it(start: Start) -> None:
    restarter = start("--first-delay", "600", "--longest-delay", "600", "false")
    assert restarter.stderr is not None
    assert "restarting in 600 s" in restarter.stderr.readline()
    restarter.terminate()
    assert ended(restarter) == (0, [])


def test_a_command_killed_while_it_runs_comes_back_as_another_process(start: Start, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    restarter = start(*PATIENT, "sh", "-c", f"echo $$ > {pid}; exec sleep 600")
    first = written_pid(pid)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: written_pid(pid) != first)
    restarter.terminate()
    assert ended(restarter)[0] == 128 + signal.SIGTERM


def test_the_command_dies_with_a_restarter_that_is_killed(start: Start, tmp_path: Path) -> None:
    restarter = start("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600")
    command = Process.of(written_pid(tmp_path / "pid"))
    assert command is not None
    restarter.kill()
    eventually(lambda: command.state() is ProcessState.ENDED)


def test_a_command_that_does_not_exist_is_named(start: Start) -> None:
    assert ended(start("no-such-command")) == (127, ["restarter: no-such-command: command not found"])


def test_a_command_that_cannot_be_run_is_named(start: Start, tmp_path: Path) -> None:
    code, lines = ended(start("--", str(tmp_path)))
    assert (code, lines) == (126, [f"restarter: {tmp_path}: cannot be run: Permission denied"])


@pytest.mark.parametrize("arguments", [(), ("--",), ("--first-delay", "-1", "true"), ("--no-such-option", "true")])
def test_wrong_usage_is_exit_code_2(start: Start, arguments: tuple[str, ...]) -> None:
    code, lines = ended(start(*arguments))
    assert code == 2
    assert lines[0].startswith("usage: python -m ops.restarter")


def test_the_pause_doubles_up_to_its_bound() -> None:
    pace = Pace(first_delay_s=0.5, longest_delay_s=30.0)
    assert [pace.delay_s(deaths) for deaths in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pace.delay_s(10_000) == 30


def test_the_pause_is_short_again_after_a_long_run(start: Start, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    script = f'echo run >> {runs}; test "$(wc -l < {runs})" -gt 3'
    _, lines = ended(start("--first-delay", "0.01", "--settled-after", "0", "sh", "-c", script))
    assert [line.rpartition("; ")[2] for line in lines] == ["restarting in 0.01 s"] * 3
