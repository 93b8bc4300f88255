"""Stop the demo on a signal, so that its servers and workers are stopped too."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Turns the first SIGINT, SIGTERM or SIGHUP inside a `with` block into KeyboardInterrupt; ignores further ones.

    Attributes:
        received: the signal that was received; None if there was none.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._deferring: threading.Event | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[threading.Event]:
        """Inside the block a signal only sets the event; KeyboardInterrupt is raised at the end of the block.

        For work that must not stop at any line, such as starting a server and recording its process.
        """
        was_received = self.received
        event = self._deferring = threading.Event()
        try:
            yield event
        finally:
            self._deferring = None
        if self.received is not was_received:
            raise KeyboardInterrupt

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            return
        self.received = signal.Signals(number)
        if self._deferring is None:
            raise KeyboardInterrupt
        self._deferring.set()
