"""Read and reset Kafka topics and consumer groups in tests."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # re-exported implicitly

from streams.adapters.committed_reader import ConsumerOwner, committed_consumer

ANSWER_S = 30.0
SILENCE_S = 30.0
BLOCK = 10_000

Place = tuple[str, int]
"""Topic and partition number."""


class Record(NamedTuple):
    """A Kafka record, as a read-committed consumer returns it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, str]


class TopicReader(ConsumerOwner):
    """A consumer without a group that reads topic partitions from given offsets to their current ends."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = committed_consumer(
            bootstrap, "faults-reader", {"enable.partition.eof": True, "fetch.wait.max.ms": 50}
        )

    def records(self, starts: Mapping[Place, int]) -> Iterator[Record]:
        """Yield every committed record from the given start offsets to the current end of each partition.

        Raises:
            TimeoutError: no data arrived for `SILENCE_S` seconds.
        """
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in starts.items()])
        unread, heard_at = set(starts), time.monotonic()
        while unread:
            messages = self._consumer.consume(BLOCK, 0.2)
            if messages:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > SILENCE_S:
                raise TimeoutError(f"no data from Kafka for {SILENCE_S:.0f} s; not read to the end: {sorted(unread)}")
            for message in messages:
                error, place = message.error(), _place(message)
                if error is None:
                    yield _record(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(place)


def read_topics(bootstrap: str, *topics: str) -> list[Record]:
    """Return every committed record of the given topics; the records of each partition are in offset order."""
    starts = dict.fromkeys(places(bootstrap, *topics), OFFSET_BEGINNING)
    with TopicReader(bootstrap) as reader:
        return list(reader.records(starts))


def places(bootstrap: str, *topics: str) -> list[Place]:
    """Return all partitions of the given topics."""
    known = admin(bootstrap).list_topics(timeout=ANSWER_S).topics
    return [(topic, number) for topic in topics for number in sorted(known[topic].partitions)]


def admin(bootstrap: str) -> AdminClient:
    """Create an admin client; keep a reference to it until its futures are done."""
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})


def ends(bootstrap: str, of: Sequence[Place], *, committed_only: bool) -> dict[Place, int]:
    """Return the end offsets of partitions; with `committed_only`, the last stable offsets."""
    level = IsolationLevel.READ_COMMITTED if committed_only else IsolationLevel.READ_UNCOMMITTED
    wanted = {TopicPartition(*place): OffsetSpec.latest() for place in of}  # type: ignore[no-untyped-call]
    client = admin(bootstrap)
    answers = client.list_offsets(wanted, isolation_level=level, request_timeout=ANSWER_S)
    return {(tp.topic, tp.partition): answer.result(ANSWER_S).offset for tp, answer in answers.items()}


def begins(bootstrap: str, of: Sequence[Place]) -> dict[Place, int]:
    """Return the first available offset of each partition."""
    wanted = {TopicPartition(*place): OffsetSpec.earliest() for place in of}  # type: ignore[no-untyped-call]
    client = admin(bootstrap)
    answers = client.list_offsets(wanted, request_timeout=ANSWER_S)
    return {(tp.topic, tp.partition): answer.result(ANSWER_S).offset for tp, answer in answers.items()}


def empty_topics(bootstrap: str, *topics: str) -> None:
    """Delete all records of the given topics."""
    tps = [TopicPartition(*place, OFFSET_END) for place in places(bootstrap, *topics)]
    client = admin(bootstrap)
    for answer in client.delete_records(tps, request_timeout=ANSWER_S).values():
        answer.result(ANSWER_S)


def delete_topics(bootstrap: str, *topics: str) -> None:
    """Delete topics, and wait until the broker no longer lists them."""
    client = admin(bootstrap)
    for answer in client.delete_topics(list(topics), operation_timeout=ANSWER_S).values():
        answer.result(ANSWER_S)
    while any(topic in client.list_topics(timeout=ANSWER_S).topics for topic in topics):
        time.sleep(0.05)


def reset_group(bootstrap: str, group: str, topics: Sequence[str]) -> None:
    """Reset the committed offsets of a consumer group without members to the beginning of the given topics."""
    offsets = begins(bootstrap, places(bootstrap, *topics))
    tps = [TopicPartition(*place, offset) for place, offset in offsets.items()]
    client = admin(bootstrap)
    [answer] = client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, tps)]).values()
    answer.result(ANSWER_S)


class Lag:
    """A check for records that a consumer group has not read yet.

    The records after the committed offsets are read, because offsets alone are not enough: transaction markers have
    offsets too.
    """

    def __init__(self, bootstrap: str, group: str, topics: Sequence[str]) -> None:
        self._group = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 2})
        self._places = places(bootstrap, *topics)
        self._reader = TopicReader(bootstrap)

    def is_zero(self) -> bool:
        """Whether the group has committed past every record up to the current end of each partition."""
        tps = self._group.committed([TopicPartition(*place) for place in self._places], ANSWER_S)
        starts = {(tp.topic, tp.partition): tp.offset if tp.offset >= 0 else OFFSET_BEGINNING for tp in tps}
        return next(self._reader.records(starts), None) is None

    def close(self) -> None:
        """Close the consumers that compute the lag."""
        self._reader.__exit__(None, None, None)
        self._group.close()


def _place(message: Any) -> Place:
    return message.topic(), message.partition()


def _record(message: Any) -> Record:
    headers = {name: value.decode() for name, value in message.headers() or []}
    return Record(*_place(message), message.offset(), message.key(), message.value(), headers)
