"""Goal: a killed PostgreSQL server starts again, whoever has its process number now, but not beside its remains.

Method: processes that work in a folder, as those of a server do, and a lock file in it.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack.errors import CancelledWorkError, StackError
from stack.job import Job
from stack.servers.postgres_lock import clear_lock


def job(*, cancelled: bool = False) -> Job:
    event = threading.Event()
    if cancelled:
        event.set()
    return Job(lambda _: None, event)


@contextmanager
def process_in(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], cwd=folder) as process:
        yield process
        process.kill()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def lock(data: Path, pid: int) -> Path:
    file = data / "postmaster.pid"
    file.write_text(f"{pid}\n{data}\n")
    return file


def test_the_lock_of_a_server_that_has_ended_is_removed_although_another_process_has_its_number(data: Path) -> None:
    with process_in(data.parent) as another:
        file = lock(data, another.pid)
        clear_lock(data, job())
        assert not file.exists()
        assert another.poll() is None


def test_the_processes_of_a_killed_server_are_waited_for(data: Path) -> None:
    with process_in(data) as left:
        file = lock(data, left.pid - 1)
        threading.Timer(0.2, left.kill).start()
        clear_lock(data, job())
        assert left.wait() != 0
        assert not file.exists()


def test_a_process_that_does_not_end_is_named_and_the_lock_stays(data: Path) -> None:
    with process_in(data) as left:
        file = lock(data, left.pid)
        with pytest.raises(StackError, match=str(left.pid)):
            clear_lock(data, job(), limit_s=0.1)
        assert file.exists()


def test_waiting_can_be_cancelled(data: Path) -> None:
    with process_in(data) as left:
        lock(data, left.pid)
        with pytest.raises(CancelledWorkError):
            clear_lock(data, job(cancelled=True))


def test_a_new_folder_has_no_lock(data: Path) -> None:
    clear_lock(data, job(cancelled=True))
