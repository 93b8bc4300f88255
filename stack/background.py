"""Fetch programs in the background, while the servers whose programs are there already do their work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

from stack.errors import StackError
from stack.job import Job

Task = Callable[[Job], object]


class Background:
    """Tasks that run in parallel inside a `with` block; leaving the block cancels them and waits for their end.

    Their tools yield the processor to every other program. A failed task does not cancel the others, because what they
    fetch stays in the cache.

    Args:
        tasks: the tasks by name; each gets a job that is cancelled at the end of the block.
    """

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self._tasks = dict(tasks)
        self._cancelled = threading.Event()
        self._futures: dict[str, Future[object]] = {}
        self._began = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._pool = ThreadPoolExecutor(max(1, len(self._tasks)), "background")
        for name, task in self._tasks.items():
            self._futures[name] = self._pool.submit(task, Job(_say_nothing, self._cancelled, yields=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancelled.set()
        self._pool.shutdown(wait=True)

    @property
    def seconds(self) -> float:
        """Time since the tasks were started, in seconds."""
        return time.monotonic() - self._began

    def unfinished(self) -> list[str]:
        """Return the names of the tasks that are still running."""
        return [name for name, future in self._futures.items() if not future.done()]

    def check(self) -> None:
        """Check the tasks that have ended, without waiting for the others.

        Raises:
            StackError: tasks have failed; the message has the reason of each.
        """
        ended = [(name, future.exception()) for name, future in self._futures.items() if future.done()]
        for _, error in ended:
            if error is not None and not isinstance(error, StackError):
                raise error
        faults = [f"{name}: {error}" for name, error in ended if error is not None]
        if faults:
            raise StackError("\n".join(faults))

    def wait(self) -> None:
        """Wait until all tasks have ended.

        Raises:
            StackError: tasks have failed; the message has the reason of each.
        """
        wait(self._futures.values())
        self.check()


def _say_nothing(text: str) -> None:
    """Ignore a progress report, which would appear in the middle of other output."""
