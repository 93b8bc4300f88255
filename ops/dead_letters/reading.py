"""Read the committed records of the topic `dead_letters`: all of them, or a single dead letter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from ops.context import SILENT
from ops.dead_letters.letter import DeadLetter, RecordRef, ReplayNote, read_record
from stack.errors import StackError
from streams.adapters.committed_reader import ConsumerOwner, committed_consumer
from streams.topics import DEAD_LETTERS

ANSWER_S = 10.0
SILENCE_S = 30.0
_POLL_S = 0.2
_QUEUED_KILOBYTES = 32 * 1024


class DeadLetterReader(ConsumerOwner):
    """A reader of the topic `dead_letters` that keeps one record at a time in memory and commits no offsets."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumer = committed_consumer(
            bootstrap,
            "millrace-dead-letters",
            {
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 10,  # Kafka reports the end of a partition only after an empty response
                "queued.max.messages.kbytes": _QUEUED_KILOBYTES,  # dead letters are up to 16 MB each
            },
            logger=SILENT,
        )

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic, 0 if the topic does not exist.

        Raises:
            StackError: Kafka does not answer.
        """
        try:
            return len(self._consumer.list_topics(topic, ANSWER_S).topics[topic].partitions)
        except KafkaException as error:
            raise self._unreachable(error.args[0].str()) from None

    def records(self) -> Iterator[DeadLetter | ReplayNote]:
        """Yield every committed record up to the current end of each partition, in order within a partition.

        Raises:
            StackError: Kafka does not answer, or the topic does not exist.
        """
        ends = self._ends()
        unread = {number for number, end in ends.items() if end > 0}
        self._consumer.assign([TopicPartition(DEAD_LETTERS, number, OFFSET_BEGINNING) for number in unread])
        while unread:
            place, message = self._next()
            if message is not None and place.offset < ends[place.partition]:
                yield _record(place, message)
            if message is None or place.offset + 1 >= ends[place.partition]:
                unread.discard(place.partition)

    def at(self, place: RecordRef) -> DeadLetter:
        """Read the dead letter at one partition and offset.

        Raises:
            StackError: there is no dead letter at this position, or Kafka does not answer.
        """
        end = self._ends().get(place.partition, 0)
        if place.offset < end:
            self._consumer.assign([TopicPartition(DEAD_LETTERS, place.partition, place.offset)])
            found, message = self._next()
            record = _record(found, message) if message is not None and found == place else None
            if isinstance(record, ReplayNote):
                raise StackError(f"{place} is not a dead letter: it is the note that {record.place} was replayed")
            if record is not None:
                return record
        raise StackError(f"there is no dead letter at {place}: see `millrace dead-letters list`")

    def _ends(self) -> dict[int, int]:
        count = self.partitions(DEAD_LETTERS)
        if count == 0:
            raise StackError(f"topic {DEAD_LETTERS} does not exist at {self._bootstrap}: run `millrace topics apply`")
        try:
            return {
                number: self._consumer.get_watermark_offsets(TopicPartition(DEAD_LETTERS, number), ANSWER_S)[1]
                for number in range(count)
            }
        except KafkaException as error:
            raise self._unreachable(error.args[0].str()) from None

    def _next(self) -> tuple[RecordRef, Message | None]:
        """Return the position and message of the next record; at a partition's end, offset -1 and no message."""
        heard_at = time.monotonic()
        while time.monotonic() - heard_at < SILENCE_S:
            message = self._consumer.poll(_POLL_S)
            if message is None:
                continue
            error, partition, offset = message.error(), message.partition(), message.offset()
            if error is None:
                assert partition is not None
                assert offset is not None
                return RecordRef(partition, offset), message
            # The second code means that retention has deleted the record in the meantime.
            if error.code() in (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET):
                assert partition is not None
                return RecordRef(partition, -1), None
            if error.fatal() or not error.retriable():
                raise self._unreachable(error.str())
        raise self._unreachable(f"no data arrived for {SILENCE_S:g} s")

    def _unreachable(self, reason: str) -> StackError:
        return StackError(
            f"can't read {DEAD_LETTERS} from Kafka at {self._bootstrap}: {reason}; is it running and reachable?"
        )


def _record(place: RecordRef, message: Message) -> DeadLetter | ReplayNote:
    headers: Any = message.headers() or ()
    key: Any = message.key()
    value: Any = message.value()
    return read_record(place, message.timestamp()[1], key, value, tuple(headers))
