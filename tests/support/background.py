"""Run a function in a thread while a test does something else: load, a reader, a measurement."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def in_background(run: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Run `run` meanwhile, in a thread; it ends when its event is set. What it raised is raised here at the end."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def body() -> None:
        try:
            run(stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body, name=name)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]
