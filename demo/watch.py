"""Consume `order_final`, and record when each order first became visible and how many records arrived."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

from stack.errors import StackError
from streams.adapters.committed_reader import committed_consumer
from streams.topics import ORDER_FINAL

_POLL_S = 0.05
_ANSWER_S = 30.0


class WatchThread(ABC):
    """A thread that consumes the committed records of a topic from the beginning of every partition."""

    def __init__(self, bootstrap: str, topic: str, client_id: str, *, fetch_wait_ms: int) -> None:
        self._topic = topic
        self._consumer = committed_consumer(bootstrap, client_id, {"fetch.wait.max.ms": fetch_wait_ms})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=client_id, daemon=True)

    def __enter__(self) -> Self:
        partitions = self._consumer.list_topics(self._topic, _ANSWER_S).topics[self._topic].partitions
        self._consumer.assign([TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in partitions])
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    @abstractmethod
    def _watch(self) -> None:
        """Consume records until `_stop` is set."""


class FinalWatch(WatchThread):
    """A thread that consumes `order_final` and records which orders are visible.

    Attributes:
        first_seen_ns: wall-clock time when each order was first seen, in ns since 1970, keyed by order id.
        records: number of records seen, including repetitions.
        error: error that ended the consumer; None while the consumer is running.
    """

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap, ORDER_FINAL, "millrace-watch", fetch_wait_ms=100)
        self.first_seen_ns: dict[str, int] = {}
        self.records = 0
        self.error: str | None = None

    def seen_ns(self) -> dict[str, int]:
        """Return a copy of `first_seen_ns` that is safe to iterate while the thread adds to the original."""
        return dict(self.first_seen_ns)  # atomic, unlike iteration, so the thread cannot interfere

    def wait_for(self, count: int, limit_s: float) -> bool:
        """Wait until `count` distinct orders are visible; return False if the time limit is exceeded.

        Raises:
            StackError: the consumer has failed.
        """
        deadline = time.monotonic() + limit_s
        while len(self.first_seen_ns) < count:
            if self.error is not None:
                raise StackError(f"the consumer of {ORDER_FINAL} failed: {self.error}")
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def _watch(self) -> None:
        while not self._stop.is_set():
            # Not `consume`: it waits for a full batch or a timeout, which would add to the measured latency.
            message = self._consumer.poll(_POLL_S)
            if message is None:
                continue
            error = message.error()
            if error is None:
                key = message.key()
                assert key is not None
                self.records += 1
                self.first_seen_ns.setdefault(key.decode() if isinstance(key, bytes) else key, time.time_ns())
            elif error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                self.error = error.str()
                return
