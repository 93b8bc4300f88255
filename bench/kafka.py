"""Create, delete and write topics, and observe when consumer groups become stable and outputs become visible."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported silently

from bench.inputs import Change
from demo.watch import WatchThread
from ops.context import SILENT
from stack.errors import StackError

ANSWER_S: Final = 30.0
_BATCH: Final = 2_000
_POLL_S: Final = 0.005
"""Maximum time that a call waits for a full batch of records, and therefore the maximum error of observed times."""
_SEND_LIMIT_S: Final = 120.0


def admin(bootstrap: str) -> AdminClient:
    """Create an admin client; the caller must keep a reference to the client until its requests are answered."""
    return AdminClient({"bootstrap.servers": bootstrap}, logger=SILENT)


def create_topics(bootstrap: str, *names: str, partitions: int) -> None:
    """Create topics, and wait until the broker reports them."""
    client = admin(bootstrap)
    for future in client.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        future.result(ANSWER_S)
    _await(lambda: all(name in _names(client) for name in names), "not all topics were created")


def delete_topics(bootstrap: str, *, beginning: Iterable[str] = (), named: Iterable[str] = ()) -> None:
    """Delete the topics that have one of the names or prefixes, and wait until the broker no longer reports them."""
    client = admin(bootstrap)
    prefixes, exactly = tuple(beginning), set(named)
    found = [name for name in _names(client) if name in exactly or (prefixes and name.startswith(prefixes))]
    if not found:
        return
    for future in client.delete_topics(found, operation_timeout=ANSWER_S).values():
        future.result(ANSWER_S)
    _await(lambda: not set(found) & set(_names(client)), "not all topics were deleted")


class GroupWatch:
    """Finds out when a consumer group becomes stable, that is, when all members have their partitions assigned."""

    def __init__(self, bootstrap: str, group: str) -> None:
        self._admin = admin(bootstrap)
        self._group = group
        self._not_yet_at = time.time()

    def joined_at(self) -> float | None:
        """Check the group; return None if it is not yet stable, otherwise the Unix time of the previous check."""
        asked_at = time.time()
        if self._is_stable():
            return self._not_yet_at
        self._not_yet_at = asked_at
        return None

    def _is_stable(self) -> bool:
        [answer] = self._admin.describe_consumer_groups([self._group], request_timeout=ANSWER_S).values()
        try:
            found = answer.result(ANSWER_S)
        except KafkaException:
            return False  # the group does not exist yet
        return bool(found.members) and found.state.name == "STABLE"


def write(bootstrap: str, changes: Iterable[Change], topics: Mapping[str, str]) -> int:
    """Write changes to Kafka with the connector's keys, partitioner and compression; return the number of changes.

    Args:
        topics: target topics, keyed by table.

    Raises:
        StackError: Kafka did not accept all changes.
    """
    return _write(bootstrap, ((topics[change.table], change.value, change.key, -1) for change in changes))


def write_at(bootstrap: str, topic: str, records: Iterable[tuple[int, bytes, bytes]]) -> int:
    """Write records, each given as its partition, key and value; return their number.

    Raises:
        StackError: Kafka did not accept all records.
    """
    return _write(bootstrap, ((topic, value, key, partition) for partition, key, value in records))


def _write(bootstrap: str, records: Iterable[tuple[str, bytes, str | bytes, int]]) -> int:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 20,
            "queue.buffering.max.messages": 500_000,
            "log_level": 2,
        }
    )
    faults: list[str] = []

    def delivered(error: Any, _: Any) -> None:
        if error is not None:
            faults.append(error.str())

    count = 0
    for topic, value, key, partition in records:
        count += 1
        while True:
            with contextlib.suppress(BufferError):
                producer.produce(topic, value, key, partition, on_delivery=delivered)
                break
            producer.poll(0.1)
        producer.poll(0)
    if producer.flush(_SEND_LIMIT_S) or faults:
        cause = faults[0] if faults else f"Kafka did not accept all of it within {_SEND_LIMIT_S:.0f} s"
        raise StackError(f"cannot write the benchmark's input to Kafka at {bootstrap}: {cause}")
    return count


class OutputWatch(WatchThread):
    """A thread that reads the committed records of an output topic and notes when new keys appear.

    Attributes:
        distinct: number of distinct keys seen so far.
        first_at: Unix time in seconds when the first record was seen.
        last_at: Unix time in seconds when the latest record with a new key was seen.
    """

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(bootstrap, topic, "bench-watch", fetch_wait_ms=50)
        self._keys: set[Any] = set()
        self.first_at: float | None = None
        self.last_at: float | None = None

    @property
    def distinct(self) -> int:
        """Number of distinct keys seen so far."""
        return len(self._keys)

    def _watch(self) -> None:
        while not self._stop.is_set():
            messages = [m for m in self._consumer.consume(_BATCH, _POLL_S) if m.error() is None]
            if not messages:
                continue
            now, before = time.time(), len(self._keys)
            self._keys.update(message.key() for message in messages)
            self.first_at = self.first_at or now
            if len(self._keys) > before:
                self.last_at = now


def _names(client: AdminClient) -> list[str]:
    return list(client.list_topics(timeout=ANSWER_S).topics)


def _await(condition: Any, what: str) -> None:
    deadline = time.monotonic() + ANSWER_S
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"{what} within {ANSWER_S:.0f} s")
        time.sleep(0.05)
