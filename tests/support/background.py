"""Run a function in a thread during a test, for example to create load, read a topic or take measurements."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def in_background(run: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Run `run` in a thread during the `with` block.

    At the end of the block, set the event passed to `run`, wait for the thread, and raise any exception of `run`.
    """
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
