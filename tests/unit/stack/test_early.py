"""The servers' programs are fetched while the Python packages are installed, and the command alone decides the result.

The downloads are fakes; the command is a real process.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stack import early
from stack.errors import StackError
from stack.job import Job
from stack.site import REPOSITORY

LIMIT_SECONDS = 30.0


def test_programs_are_fetched_while_the_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = tmp_path / "fetched"
    monkeypatch.setattr(early, "fetch_java", lambda cache, job: fetched.touch())
    monkeypatch.setattr(early, "fetch_minio", lambda cache, job: None)
    waiting = f"import pathlib, time\nwhile not pathlib.Path({str(fetched)!r}).exists(): time.sleep(0.01)"
    assert early.main([sys.executable, "-c", waiting]) == 0


def test_the_end_of_the_command_cancels_what_is_still_being_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = threading.Event()

    def build(_: Path, job: Job) -> None:
        try:
            job.pause(LIMIT_SECONDS)
        finally:
            cancelled.set()

    monkeypatch.setattr(early, "fetch_java", lambda cache, job: None)
    monkeypatch.setattr(early, "fetch_minio", build)
    assert early.main([sys.executable, "-c", "raise SystemExit(3)"]) == 3
    assert cancelled.is_set()


def test_a_failed_download_is_left_to_the_program_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path, __: Job) -> None:
        raise StackError("no network")

    monkeypatch.setattr(early, "fetch_java", fail)
    monkeypatch.setattr(early, "fetch_minio", fail)
    assert early.main([sys.executable, "-c", ""]) == 0


def test_it_needs_no_python_package() -> None:
    program = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import stack.early"
    found = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
