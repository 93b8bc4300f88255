"""Programs are fetched in the background: failures are reported when asked for, and nothing outlives the block."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from stack.background import Background
from stack.errors import CancelledWorkError, StackError
from stack.job import Job

LIMIT_SECONDS = 30.0


def fail(_: Job) -> None:
    raise StackError("no network")


def wait_until(done: threading.Event) -> None:
    assert done.wait(LIMIT_SECONDS)


def test_it_works_while_the_block_goes_on_and_waits_when_asked_to() -> None:
    go, seen = threading.Event(), list[str]()

    def build(_: Job) -> None:
        wait_until(go)
        seen.append("built")

    with Background({"build": build}) as background:
        assert background.unfinished() == ["build"]
        background.check()
        seen.append("stream")
        go.set()
        background.wait()
        assert background.unfinished() == []
    assert seen == ["stream", "built"]


def test_a_failure_is_reported_when_asked_for_and_does_not_stop_the_other_task() -> None:
    built = threading.Event()
    with Background({"jars": fail, "build": lambda _: built.set()}) as background:
        wait_until(built)
        with pytest.raises(StackError, match="jars: no network"):
            background.wait()


def test_a_failed_task_is_reported_while_another_still_runs() -> None:
    go = threading.Event()
    with Background({"jars": fail, "build": lambda _: wait_until(go)}) as background:
        deadline = time.monotonic() + LIMIT_SECONDS
        while "jars" in background.unfinished() and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(StackError, match="no network"):
            background.check()
        go.set()


def test_the_end_of_the_block_cancels_a_running_tool(tmp_path: Path) -> None:
    started, ended = tmp_path / "started", list[type[BaseException]]()

    def build(job: Job) -> None:
        try:
            job.run(["sh", "-c", f"touch {started}; exec sleep 600"], purpose="building")
        except BaseException as error:
            ended.append(type(error))
            raise

    began = time.monotonic()
    with Background({"build": build}):
        while not started.exists() and time.monotonic() - began < LIMIT_SECONDS:
            time.sleep(0.01)
    assert ended == [CancelledWorkError]
    assert time.monotonic() - began < LIMIT_SECONDS
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("background")]


def test_its_tools_have_the_lowest_priority(tmp_path: Path) -> None:
    found = tmp_path / "nice"

    def build(job: Job) -> None:
        job.run(["sh", "-c", f"sleep 0.2; ps -o ni= -p $$ > {found} || nice > {found}"], purpose="building")

    with Background({"build": build}) as background:
        background.wait()
    assert found.read_text().strip() == "19"


def test_a_programming_error_is_raised_as_it_is() -> None:
    def build(_: Job) -> None:
        raise ZeroDivisionError

    with Background({"build": build}) as background, pytest.raises(ZeroDivisionError):
        background.wait()
