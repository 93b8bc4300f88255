"""Replay dead letters to the topic and partition they came from, and note each replay in the same transaction.

The note of a replayed letter goes to the letter's own partition of `dead_letters`. Consumer-group offsets could not
record this, because a selection of letters leaves gaps. Like a worker, a replay first fences all other replays, so
that none of them can commit any more; then it reads the notes, and then it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

from confluent_kafka import KafkaError, KafkaException

from ops.dead_letters.letter import REPLAYED, DeadLetter, RecordRef
from ops.dead_letters.printing import short
from ops.producer import ANSWER_S
from stack.errors import StackError
from streams.topics import DEAD_LETTERS, KEY_LEFT_OUT_HEADER, REPLAYED_FROM_HEADER, SIZE_UNKNOWN

CHUNK_LETTERS: Final = 500
CHUNK_BYTES: Final = 512 * 1024
"""Limits of one transaction. A larger letter gets a separate transaction: Kafka may reject it as too large for its
topic, and other records in the same transaction would then wait for their timeout."""

OnRejected = Callable[[DeadLetter, str], None]


class TransactionalProducer(Protocol):
    """The methods of confluent-kafka's `Producer` that a replay uses."""

    def init_transactions(self, timeout: float, /) -> object: ...
    def begin_transaction(self) -> object: ...
    @property
    def produce(self) -> Callable[..., object]: ...
    def commit_transaction(self, timeout: float, /) -> object: ...
    def abort_transaction(self, timeout: float, /) -> object: ...


def transactional_id(app_id: str) -> str:
    """Return the transactional id that all replays of an application share."""
    return f"{app_id}-dead-letters-replay"


def replay_fault(letter: DeadLetter, sources: Mapping[str, int], *, has_value: bool = False) -> str | None:
    """Explain why a letter cannot be replayed; None if it can.

    The origin may have been written by any producer, so only the topics in `sources` are accepted.

    Args:
        letter: the letter to replay.
        sources: number of partitions, keyed by the name of each source topic.
        has_value: whether a corrected value replaces the letter's value.
    """
    origin = letter.origin
    if origin is None:
        return f"its origin is unknown: {letter.fault}"
    if origin.topic not in sources:
        return f"topic {short(origin.topic, 100)} is not one of the source topics"
    if origin.partition >= sources[origin.topic]:
        return f"topic {origin.topic} has no partition {origin.partition}"
    key_left_out = dict(letter.headers).get(KEY_LEFT_OUT_HEADER)
    if key_left_out == SIZE_UNKNOWN.encode():
        return "it stands for records that were skipped and could not be read"
    if key_left_out is not None:
        return f"its key was left out, because it is too large; only the original record has it: {origin}"
    if letter.left_out is not None and not has_value:
        return f"its value of {letter.left_out} bytes was left out; only the original record has it: {origin}"
    return None


class Replay:
    """A run of `dead-letters replay`.

    Attributes:
        replayed: number of letters that were replayed.
        rejected: number of letters that could not be replayed.
    """

    def __init__(self, producer: TransactionalProducer, sources: Mapping[str, int], on_rejected: OnRejected) -> None:
        self.replayed = 0
        self.rejected = 0
        self._producer = producer
        self._sources = sources
        self._on_rejected = on_rejected

    def begin(self) -> None:
        """Fence all other replays; when this method returns, everything they committed is visible."""
        try:
            self._producer.init_transactions(ANSWER_S)
        except KafkaException as error:
            raise StackError(f"the replay could not begin its transaction: {error.args[0].str()}") from None

    def run(self, letters: Iterable[DeadLetter], done: Collection[RecordRef] = (), value: bytes | None = None) -> int:
        """Replay letters, many per transaction; return the number skipped because they are in `done`.

        Args:
            letters: letters to replay.
            done: positions of letters that were replayed before.
            value: corrected value to write instead of each letter's value; None to keep it.
        """
        skipped = size = 0
        chunk: list[DeadLetter] = []
        for letter in letters:
            if letter.place in done:
                skipped += 1
                continue
            reason = replay_fault(letter, self._sources, has_value=value is not None)
            if reason is not None:
                self._refuse(letter, reason)
                continue
            length = len(letter.value or b"") + len(letter.key or b"")
            if chunk and (len(chunk) == CHUNK_LETTERS or size + length > CHUNK_BYTES):
                self._write(chunk, value)
                chunk, size = [], 0
            chunk.append(letter)
            size += length
        if chunk:
            self._write(chunk, value)
        return skipped

    def _refuse(self, letter: DeadLetter, reason: str) -> None:
        self.rejected += 1
        self._on_rejected(letter, reason)

    def _write(self, letters: Sequence[DeadLetter], value: bytes | None) -> None:
        """Write letters in one transaction; if Kafka rejects a record, write each letter in its own transaction."""
        fault = self._transaction(letters, value)
        if fault is not None and fault.code() not in _OF_A_RECORD:
            # librdkafka 2.16: the transaction after one with a rejected record fails once, and succeeds when repeated.
            fault = self._transaction(letters, value)
        if fault is None:
            self.replayed += len(letters)
        elif fault.code() not in _OF_A_RECORD:
            raise _ended(fault)
        elif len(letters) == 1:
            self._refuse(letters[0], f"Kafka rejected it: {fault.str()}")
        else:
            for letter in letters:
                self._write([letter], value)

    def _transaction(self, letters: Sequence[DeadLetter], value: bytes | None) -> KafkaError | None:
        """Write letters and notes in one transaction; return Kafka's error if it was aborted, else None."""
        producer = self._producer
        try:
            producer.begin_transaction()
            try:
                for letter in letters:
                    self._produce(letter, letter.value if value is None else value)
                producer.commit_transaction(ANSWER_S)  # fails if any record failed
            except KafkaException as error:
                fault: KafkaError = error.args[0]
                if fault.fatal():
                    raise
                producer.abort_transaction(ANSWER_S)
                return fault
        except KafkaException as error:
            raise _ended(error.args[0]) from None
        return None

    def _produce(self, letter: DeadLetter, value: bytes | None) -> None:
        origin = letter.origin
        assert origin is not None
        place = letter.place
        self._producer.produce(
            origin.topic,
            partition=origin.partition,  # not by the key's hash: order is kept only in the original partition
            key=letter.key,
            value=value,
            headers=[(REPLAYED_FROM_HEADER, f"{DEAD_LETTERS}/{place.partition}/{place.offset}".encode())],
        )
        self._producer.produce(
            DEAD_LETTERS, partition=place.partition, headers=[(REPLAYED, str(place.offset).encode())]
        )


# Errors caused by a single record; all others concern Kafka or this run.
_OF_A_RECORD = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_MSG)


def _ended(error: KafkaError) -> StackError:
    if error.fatal() or error.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH):
        return StackError(
            f"another replay has begun, so this one stops ({error.str()}); letters committed so far are replayed"
        )
    return StackError(
        f"Kafka rejected the replay: {error.str()}; run the command again to replay the remaining letters"
    )
