"""Runs tasks in parallel threads; each task starts when the tasks that it depends on have finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar


class Task(Protocol):
    """A named task for `run_parallel`; `after` has the names of the tasks that must finish before this task starts."""

    @property
    def name(self) -> str: ...

    @property
    def after(self) -> frozenset[str] | None: ...


SomeTask = TypeVar("SomeTask", bound=Task)
Result = TypeVar("Result")


def run_parallel(
    tasks: Sequence[SomeTask], work: Callable[[SomeTask], Result], at_once: int
) -> Iterator[tuple[SomeTask, Result]]:
    """Run tasks in a thread pool; yield each task with its result, in the order of `tasks`.

    A task waits for those tasks in its `after` that precede it in `tasks`. Of the tasks that are ready, the one with
    the longest chain of dependent tasks starts first, so that this chain is not left to run alone at the end. After the
    first error no further task starts, and the error is raised when the running tasks have finished. If the caller is
    interrupted, it does not wait for the running tasks.

    Args:
        at_once: maximum number of tasks that run at the same time.
    """
    before = _before(tasks)
    waiting = _longest_first(tasks, before)
    running, results = dict[Future[Result], SomeTask](), dict[str, Result]()
    yielded = 0
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="step")
    try:
        while waiting or running:
            for task in [each for each in waiting if before[each.name] <= results.keys()][: at_once - len(running)]:
                waiting.remove(task)
                running[pool.submit(work, task)] = task
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future).name
                results[name] = _result(future, running)
            while yielded < len(tasks) and tasks[yielded].name in results:
                yield tasks[yielded], results[tasks[yielded].name]
                yielded += 1
    finally:
        pool.shutdown(wait=False)


def _before(tasks: Sequence[SomeTask]) -> dict[str, set[str]]:
    """Map the name of each task to the names of the earlier tasks that it waits for."""
    found = dict[str, set[str]]()
    for task in tasks:
        found[task.name] = found.keys() & (task.after or set())
    return found


def _longest_first(tasks: Sequence[SomeTask], before: dict[str, set[str]]) -> list[SomeTask]:
    """Sort tasks by the length of their longest chain of dependent tasks, longest first; the sort is stable."""
    length = dict.fromkeys(before, 0)
    for name in reversed(list(before)):
        for each in before[name]:
            length[each] = max(length[each], length[name] + 1)
    return sorted(tasks, key=lambda task: -length[task.name])


def _result(future: Future[Result], others: Iterable[Future[Result]]) -> Result:
    if future.exception() is not None:
        wait(others)
    return future.result()
