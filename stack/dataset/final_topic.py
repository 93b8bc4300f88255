"""Reads the topic of complete orders as a consumer of committed records sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import msgspec
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from stack.consumer import committed_consumer
from stack.errors import StackError

TRIES = 3
METADATA_TIMEOUT_S = 5.0
SILENCE_TIMEOUT_S = 30.0
BATCH = 10_000


class Product(msgspec.Struct, frozen=True):
    """One product line of an order."""

    product_id: int
    quantity: int


class PaymentMethod(msgspec.Struct, frozen=True):
    """How an order is paid; name and bank are null when the method is unknown."""

    id: int
    name: str | None
    bank: str | None


class Order(msgspec.Struct, kw_only=True):
    """A complete order. `ordered_at` is UTC, ISO 8601 with microseconds and `Z`."""

    order_id: str
    customer_id: int
    store_id: int
    payment_method: PaymentMethod
    num_products: int
    products: list[Product]
    ordered_at: str


class FinalRecord(msgspec.Struct, frozen=True):
    """A record of the topic: its key, and its order or the reason why it is none."""

    key: str
    order: Order | None = None
    fault: str | None = None


Visit = Callable[[bytes | None, bytes | None], None]
"""What is done with the key and the value of each record."""

_decoder = msgspec.json.Decoder(Order)


def decode(key: bytes | None, value: bytes | None) -> FinalRecord:
    """A record from its bytes; the key is the bare order id."""
    name = (key or b"").decode("utf-8", "backslashreplace")
    if value is None:
        return FinalRecord(name, fault="has no value")
    try:
        order = _decoder.decode(value)
    except msgspec.DecodeError as error:
        return FinalRecord(name, fault=str(error))
    if order.order_id != name:
        return FinalRecord(name, order, f"its order_id is {order.order_id!r}")
    return FinalRecord(name, order)


def read_final(bootstrap: str, topic: str) -> list[FinalRecord]:
    """Every committed record of the topic, from the beginning to the present end of all partitions.

    Raises:
        StackError: Kafka can't be reached or the topic does not exist.
    """
    with FinalReader(bootstrap, topic) as reader:
        return reader.read_to_end()


class FinalReader:
    """Follows a topic in steps: each `read_to_end` returns the records that came since the last one."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._consumer = committed_consumer(bootstrap, "millrace-check", {"enable.partition.eof": True})
        self._positions: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def read_to_end(self) -> list[FinalRecord]:
        """The records from where the last call ended to the present end of every partition."""
        records: list[FinalRecord] = []
        self.visit_to_end(lambda key, value: records.append(decode(key, value)))
        return records

    def visit_to_end(self, visit: Visit) -> None:
        """The same, one by one and as bytes, for those who do not want to keep them all."""
        if not self._positions:
            self._positions = dict.fromkeys(self._partitions(), OFFSET_BEGINNING)
        # Assigning anew is what makes the consumer report the end of each partition again.
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
                raise self._unreachable(f"nothing came for {SILENCE_TIMEOUT_S:g} s")

    def _take(self, message: Message, visit: Visit, unread: set[int]) -> None:
        error, partition, offset = message.error(), message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        if error is None:
            if partition in unread:
                visit(_bytes(message.key()), _bytes(message.value()))
                self._positions[partition] = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            if partition in unread:  # records that came after its first end were left for the next call
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
                raise StackError(
                    f"topic {self._topic} does not exist at {self._bootstrap}: run `python -m stack topics apply`"
                )
        raise self._unreachable(reason)

    def _unreachable(self, reason: str) -> StackError:
        return StackError(f"can't read {self._topic} from Kafka at {self._bootstrap}: {reason}; is it running?")


def _bytes(raw: Any) -> bytes | None:
    return raw if raw is None or isinstance(raw, bytes) else str(raw).encode()
