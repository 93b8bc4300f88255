"""Kafka readers that do not use Faust: they return committed records only, and commit no offsets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from config.kafka_security import librdkafka_client

TRIES: Final = 3
METADATA_TIMEOUT_S: Final = 5.0
SILENCE_TIMEOUT_S: Final = 30.0
BATCH: Final = 10_000

Visit = Callable[[bytes | None, bytes | None], None]
"""Callback that receives the key and the value of a record."""

TimedVisit = Callable[[bytes | None, bytes | None, int], None]
"""Callback that receives the key, the value and the time of a record, in milliseconds since 1970."""


class TopicError(Exception):
    """Error raised when a topic cannot be read, because Kafka does not answer or the topic does not exist."""


def committed_consumer(bootstrap: str, group: str, settings: Mapping[str, Any], **keywords: Any) -> Consumer:
    """Create a consumer that reads committed records only, and whose partitions must be assigned manually.

    librdkafka logs only critical messages, because the readers raise an error if no broker answers.

    Args:
        group: consumer group id, which only identifies the consumer in the broker's log.
        settings: additional librdkafka settings.
        keywords: additional keyword arguments of `Consumer`.
    """
    return Consumer(
        {
            **librdkafka_client(bootstrap),
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "log_level": 2,
            **settings,
        },
        **keywords,
    )


class ConsumerOwner:
    """Base class of readers that close their Kafka consumer at the end of a `with` block."""

    _consumer: Consumer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()


class CommittedReader(ConsumerOwner):
    """A reader of one topic; each call of `visit_to_end` reads the records written since the previous call.

    Args:
        group: consumer group id, which only identifies the reader in the broker's log.
        positions: first offset to read, keyed by partition; all other partitions are read from the beginning.
    """

    def __init__(self, bootstrap: str, topic: str, group: str, positions: Mapping[int, int] | None = None) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._consumer = committed_consumer(bootstrap, group, {"enable.partition.eof": True})
        self._first = dict(positions or {})
        self._positions: dict[int, int] = {}

    def visit_to_end(self, visit: Visit) -> None:
        """Call `visit` for each record from where the previous call ended up to the current end of each partition.

        Raises:
            TopicError: Kafka cannot be reached, or the topic does not exist.
        """
        self.visit_times_to_end(lambda key, value, _: visit(key, value))

    def visit_times_to_end(self, visit: TimedVisit) -> None:
        """Do as `visit_to_end`, for a callback that wants the time of each record too.

        Raises:
            TopicError: Kafka cannot be reached, or the topic does not exist.
        """
        if not self._positions:
            self._positions = dict.fromkeys(self._partitions(), OFFSET_BEGINNING) | self._first
        # Only a new assignment makes the consumer report the end of each partition again.
        self._consumer.assign([TopicPartition(self._topic, p, offset) for p, offset in self._positions.items()])
        unread = set(self._positions)
        heard_at = time.monotonic()
        while unread:
            messages = self._consumer.consume(BATCH, timeout=0.2)
            for message in messages:
                self._take(message, visit, unread)
            if messages:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > SILENCE_TIMEOUT_S:
                raise self._unreachable(f"no records arrived for {SILENCE_TIMEOUT_S:g} s")

    def skip_to_end(self) -> None:
        """Let the next call of `visit_to_end` begin at the current end of each partition.

        Raises:
            TopicError: Kafka cannot be reached, or the topic does not exist.
        """
        try:
            for partition in self._partitions():
                place = TopicPartition(self._topic, partition)
                self._positions[partition] = self._consumer.get_watermark_offsets(place, METADATA_TIMEOUT_S)[1]
        except KafkaException as error:
            raise self._unreachable(error.args[0].str()) from None

    def _take(self, message: Message, visit: TimedVisit, unread: set[int]) -> None:
        error, partition, offset = message.error(), message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        if error is None:
            if partition in unread:
                visit(_bytes(message.key()), _bytes(message.value()), message.timestamp()[1])
                self._positions[partition] = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            if partition in unread:  # records written later are left to the next call
                self._positions[partition] = offset
                unread.discard(partition)
        elif error.fatal() or not error.retriable():
            raise self._unreachable(error.str())

    def _partitions(self) -> list[int]:
        reason = "no broker answers"
        for attempt in range(TRIES):
            time.sleep(0.5 * attempt)
            try:
                metadata = self._consumer.list_topics(self._topic, METADATA_TIMEOUT_S).topics[self._topic]
            except KafkaException as error:
                reason = error.args[0].str()
                continue
            if metadata.error is None:
                return sorted(metadata.partitions)
            reason = metadata.error.str()
            if metadata.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise TopicError(
                    f"topic {self._topic} does not exist in Kafka at {self._bootstrap}; "
                    "create it with `millrace topics apply`"
                )
        raise self._unreachable(reason)

    def _unreachable(self, reason: str) -> TopicError:
        return TopicError(
            f"cannot read topic {self._topic} from Kafka at {self._bootstrap} ({reason}): check that Kafka is running"
        )


def _bytes(raw: Any) -> bytes | None:
    return raw if raw is None or isinstance(raw, bytes) else str(raw).encode()
