"""The cache holds an artifact completely or not at all; one process downloads it, and again if it is damaged."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from stack.artifacts.cache import ensure, is_whole
from stack.errors import CancelledWorkError, StackError
from stack.job import Job


def fetch(folder: Path) -> None:
    (folder / "jars").mkdir()
    (folder / "jars" / "a.jar").write_bytes(b"first")
    (folder / "b").write_bytes(b"second")


def job(cancelled: threading.Event | None = None) -> Job:
    return Job(lambda _: None, cancelled or threading.Event())


def refuse(_: Path) -> None:
    raise AssertionError("a whole artifact is not fetched again")


def test_an_artifact_is_fetched_once(tmp_path: Path) -> None:
    folder = ensure(tmp_path / "cache", "x", fetch, job())
    assert (folder / "jars" / "a.jar").read_bytes() == b"first"
    assert ensure(tmp_path / "cache", "x", refuse, job()) == folder


def truncate(folder: Path) -> None:
    (folder / "b").write_bytes(b"sec")


def change_content(folder: Path) -> None:
    (folder / "b").write_bytes(b"SECOND")


def remove_file(folder: Path) -> None:
    (folder / "jars" / "a.jar").unlink()


def add_file(folder: Path) -> None:
    (folder / "c").touch()


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def break_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"b": {"size"')


@pytest.mark.parametrize("damage", [truncate, change_content, remove_file, add_file, remove_manifest, break_manifest])
def test_a_damaged_artifact_is_fetched_again(damage: Callable[[Path], None], tmp_path: Path) -> None:
    folder = ensure(tmp_path, "x", fetch, job())
    damage(folder)
    assert not is_whole(folder)
    ensure(tmp_path, "x", fetch, job())
    assert is_whole(folder)
    assert (folder / "b").read_bytes() == b"second"


def test_a_copy_with_other_times_but_equal_content_is_whole(tmp_path: Path) -> None:
    folder = ensure(tmp_path, "x", fetch, job())
    os.utime(folder / "b", (1, 1))
    assert is_whole(folder)


def test_a_fetch_that_fails_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    def break_off(folder: Path) -> None:
        fetch(folder)
        raise StackError("no network")

    with pytest.raises(StackError):
        ensure(tmp_path, "x", break_off, job())
    assert not (tmp_path / "x").exists()
    assert is_whole(ensure(tmp_path, "x", fetch, job()))
    assert not list(tmp_path.glob(".x.partial-*"))


def test_of_two_at_once_one_fetches_and_both_have_it(tmp_path: Path) -> None:
    entered, may_finish = threading.Event(), threading.Event()
    fetches: list[Path] = []

    def slow_fetch(folder: Path) -> None:
        fetches.append(folder)
        entered.set()
        assert may_finish.wait(30)
        fetch(folder)

    first = threading.Thread(target=ensure, args=(tmp_path, "x", slow_fetch, job()))
    first.start()
    assert entered.wait(30)
    second = threading.Thread(target=ensure, args=(tmp_path, "x", slow_fetch, job()))
    second.start()
    may_finish.set()
    first.join(30)
    second.join(30)
    assert len(fetches) == 1
    assert is_whole(tmp_path / "x")


def test_one_who_waits_for_another_fetch_can_be_stopped(tmp_path: Path) -> None:
    def stopped_meanwhile(_: Path) -> None:
        cancelled = threading.Event()
        cancelled.set()
        with pytest.raises(CancelledWorkError):
            ensure(tmp_path, "x", refuse, job(cancelled))
        raise StackError("seen")

    with pytest.raises(StackError, match="seen"):
        ensure(tmp_path, "x", stopped_meanwhile, job())


def test_a_tool_that_fails_is_named_with_its_last_words() -> None:
    with pytest.raises(StackError, match=r"building failed: sh exited with code 3\n    no disk"):
        job().run(["sh", "-c", "echo no disk >&2; exit 3"], purpose="building")
    with pytest.raises(StackError, match="building: the program no-such-tool is not installed"):
        job().run(["no-such-tool"], purpose="building")


def test_a_tool_is_ended_when_the_work_is_to_end() -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(CancelledWorkError):
        job(cancelled).run(["sleep", "600"], purpose="waiting")
