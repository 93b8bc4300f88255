"""A process is identified by number, start time and boot, and only that process is ever signalled."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.process import Process, ProcessState, start
from stack.record import Record, last_lines, load_record, new_record

LIVENESS_SECONDS = 30.0


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    process = start(["sleep", "600"], environment={"PATH": os.defpath}, log=tmp_path / "log")
    yield process
    process.send(signal.SIGKILL)
    assert process.wait_ended(LIVENESS_SECONDS)


def test_a_started_process_runs_until_it_is_ended(sleeper: Process) -> None:
    assert sleeper.state() is ProcessState.RUNNING
    assert sleeper.send(signal.SIGTERM)
    assert sleeper.wait_ended(LIVENESS_SECONDS)
    assert not sleeper.send(signal.SIGTERM)


def test_a_paused_process_is_seen_as_paused(sleeper: Process) -> None:
    sleeper.send(signal.SIGSTOP)
    assert sleeper.wait_for(ProcessState.PAUSED, LIVENESS_SECONDS)
    sleeper.send(signal.SIGCONT)
    assert sleeper.wait_for(ProcessState.RUNNING, LIVENESS_SECONDS)


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "another boot"}])
def test_a_process_that_only_has_the_same_number_is_never_signalled(
    sleeper: Process, change: dict[str, int | str]
) -> None:
    impostor = dataclasses.replace(sleeper, **change)  # type: ignore[arg-type]
    assert impostor.state() is ProcessState.ENDED
    assert not impostor.send(signal.SIGKILL)
    assert sleeper.state() is ProcessState.RUNNING


def test_waiting_for_a_process_that_goes_on_ends_at_the_limit(sleeper: Process) -> None:
    assert not sleeper.wait_ended(0.05)


def test_waiting_for_a_process_that_has_ended_to_pause_ends_at_once(sleeper: Process) -> None:
    sleeper.send(signal.SIGKILL)
    assert sleeper.wait_ended(LIVENESS_SECONDS)
    assert not sleeper.wait_for(ProcessState.PAUSED, 1e9)


def test_output_is_appended_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    process = start(["sh", "-c", "echo out; echo err >&2"], environment={"PATH": os.defpath}, log=log)
    assert process.wait_ended(LIVENESS_SECONDS)
    assert log.read_text() == "before\nout\nerr\n"
    assert last_lines(log, 5, offset=len("before\n")) == ["out", "err"]
    assert last_lines(tmp_path / "none", 5) == []


def test_a_process_that_shall_die_with_its_parent_does(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from stack.process import start\n"
        "process = start(['sleep', '600'], environment={'PATH': os.defpath}, log=Path(sys.argv[1]),"
        " die_with_parent=True)\n"
        "print(process.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = Process.of(int(parent.stdout.readline()))
        assert child is not None
        # The child asks for the kernel's notice in its first moments: once it is `sleep`, it has asked.
        _wait_until_program(child.pid, "sleep")
        parent.kill()
    assert child.wait_ended(LIVENESS_SECONDS)


def test_a_record_is_read_back_as_it_was_written(sleeper: Process, tmp_path: Path) -> None:
    record = new_record(sleeper, 17)
    record.save(tmp_path / "record.json")
    assert load_record(tmp_path / "record.json") == record


@pytest.mark.parametrize("content", ["", "{", "[]", '{"process": 1}', '{"process": {}}'])
def test_a_damaged_record_is_no_record(content: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(content)
    assert load_record(path) is None
    assert isinstance(load_record(tmp_path / "none"), Record | None)


def _wait_until_program(pid: int, name: str) -> None:
    deadline = time.monotonic() + LIVENESS_SECONDS
    while Path(f"/proc/{pid}/comm").read_text().strip() != name:
        assert time.monotonic() < deadline
        time.sleep(0.01)
