"""The epoch of a dataset's source: read and written in the topic `source_epochs`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import msgspec
from confluent_kafka import KafkaException, Producer

from config.kafka_security import librdkafka_client
from ops.connector.rest import ConnectClient
from ops.context import SILENT
from stack.errors import StackError
from streams.adapters.committed_reader import CommittedReader, TopicError
from streams.model.begun_epoch import BegunEpoch, begun_epochs, newest_epoch
from streams.model.position import MAX_EPOCH, epoch_of
from streams.topics import SOURCE_EPOCHS

_ANSWER_S: Final = 30.0

Answer = TypeVar("Answer")
Records = Iterable[tuple[bytes | None, bytes | None]]


def begun_epoch(bootstrap: str, dataset: str) -> int:
    """Return the newest epoch of a dataset's source; 0 if none has begun.

    Raises:
        StackError: Kafka does not answer, or the topic does not exist or has a record that cannot be read.
    """
    return _of_records(bootstrap, dataset, newest_epoch)


def began_ms(bootstrap: str, dataset: str, epoch: int) -> int:
    """Return when an epoch of a dataset's source began, in milliseconds since 1970; 0 if no record says so.

    Raises:
        StackError: Kafka does not answer, or the topic does not exist or has a record that cannot be read.
    """
    if not epoch:
        return 0
    begun = _of_records(bootstrap, dataset, begun_epochs)
    return max((each.begun_ms for each in begun if each.epoch == epoch), default=0)


def _of_records(bootstrap: str, dataset: str, answer: Callable[[Records, str], Answer]) -> Answer:
    found: list[tuple[bytes | None, bytes | None]] = []
    try:
        with CommittedReader(bootstrap, SOURCE_EPOCHS, "millrace-source-epochs") as reader:
            reader.visit_to_end(lambda key, value: found.append((key, value)))
        return answer(found, dataset)
    except TopicError as error:
        raise StackError(str(error)) from None
    except ValueError as error:
        raise StackError(f"topic {SOURCE_EPOCHS}: the record of {dataset} cannot be read: {error}") from None


def running_epoch(connect: ConnectClient, connector: str) -> int:
    """Return the epoch that a connector has at the moment; 0 if there is no such connector."""
    return epoch_of((connect.config(connector) or {}).get("topic.prefix"))


def next_epoch(begun: int, wanted: int | None) -> int:
    """Return the epoch to begin: `wanted`, or the one after the newest.

    Raises:
        StackError: the epoch has begun already, or is too large.
    """
    epoch = begun + 1 if wanted is None else wanted
    if not begun < epoch <= MAX_EPOCH:
        raise StackError(
            f"--epoch {epoch}: must be from {begun + 1} to {MAX_EPOCH}, as epoch {begun} has begun already"
        )
    return epoch


def begin_epoch(bootstrap: str, dataset: str, epoch: int) -> None:
    """Record that an epoch has begun.

    Raises:
        StackError: Kafka did not acknowledge the record.
    """
    record = BegunEpoch(epoch, time.time_ns() // 1_000_000)
    faults: list[str] = []
    settings = {**librdkafka_client(bootstrap), "enable.idempotence": True, "message.timeout.ms": int(_ANSWER_S * 1000)}
    producer = Producer(settings, logger=SILENT)
    try:
        producer.produce(
            SOURCE_EPOCHS,
            key=dataset.encode(),
            value=msgspec.json.encode(record),
            on_delivery=lambda error, _: faults.append(error.str()) if error else None,
        )
        unsent = producer.flush(_ANSWER_S + 1)
    except KafkaException as error:
        raise StackError(f"cannot write to topic {SOURCE_EPOCHS}: {error.args[0].str()}") from None
    if unsent or faults:
        raise StackError(f"cannot write to topic {SOURCE_EPOCHS}: {faults[0] if faults else 'Kafka does not answer'}")
