"""Goal: independent tasks run in parallel, results come in order, and the first error ends the run.

Method: tasks that wait for events; no clock, no Spark.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from batch.pipeline.scheduler import run_parallel

LIMIT_S = 30.0


@dataclass(frozen=True)
class Task:
    name: str
    after: frozenset[str] = field(default_factory=frozenset)


class Work:
    """The work of tasks: a task can wait for an event, which another task sets at its end."""

    def __init__(self, waits: dict[str, str] | None = None) -> None:
        self.ended = {name: threading.Event() for name in "abcd"}
        self.order: list[str] = []
        self.most = 0
        self._waits = waits or {}
        self._running = 0
        self._lock = threading.Lock()

    def __call__(self, task: Task) -> str:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            self.order.append(task.name)
        if task.name in self._waits:
            assert self.ended[self._waits[task.name]].wait(LIMIT_S)
        with self._lock:
            self._running -= 1
        self.ended[task.name].set()
        return task.name.upper()


def test_two_tasks_run_at_once_and_results_are_in_order() -> None:
    work = Work(waits={"a": "b"})  # which could never end alone
    tasks = [Task(name) for name in "abcd"]
    assert [(task.name, result) for task, result in run_parallel(tasks, work, 2)] == [
        ("a", "A"),
        ("b", "B"),
        ("c", "C"),
        ("d", "D"),
    ]
    assert work.most == 2


def test_a_task_runs_after_its_dependencies_and_others_run_first() -> None:
    work = Work(waits={"a": "c"})
    tasks = [Task("a"), Task("b", frozenset("a")), Task("c"), Task("d", frozenset({"b", "unknown"}))]
    assert [result for _, result in run_parallel(tasks, work, 2)] == ["A", "B", "C", "D"]
    assert work.order == ["a", "c", "b", "d"]


def test_the_task_with_the_longest_chain_of_dependents_runs_first() -> None:
    work = Work()
    tasks = [Task("a"), Task("b"), Task("c", frozenset("b")), Task("d", frozenset("c"))]
    assert [result for _, result in run_parallel(tasks, work, 1)] == ["A", "B", "C", "D"]
    assert work.order == ["b", "c", "a", "d"]


def test_tasks_in_a_circle_keep_their_order() -> None:
    work = Work()
    tasks = [Task("a", frozenset("b")), Task("b", frozenset("a"))]
    assert [result for _, result in run_parallel(tasks, work, 2)] == ["A", "B"]
    assert work.order == ["a", "b"]


def test_an_error_ends_the_run_once_running_tasks_are_over() -> None:
    work = Work(waits={"b": "a"})

    def failing(task: Task) -> str:
        if work(task) == "A":
            raise ValueError("a")
        return task.name

    tasks = [Task("a"), Task("b"), Task("c", frozenset("a")), Task("d", frozenset("c"))]
    with pytest.raises(ValueError, match="a"):
        list(run_parallel(tasks, failing, 2))
    assert work.ended["b"].is_set()
    assert sorted(work.order) == ["a", "b"]
