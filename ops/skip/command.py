"""Run `millrace topics skip`: check what is asked, read the record, write its dead letter and move the offset."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import aiokafka
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from confluent_kafka import KafkaException
from faust.types import TP

from config.kafka_security import aiokafka_client
from config.settings import KafkaSettings
from ops.consumer_groups import described_groups
from ops.context import settings_environment
from ops.skip.applications import position_of
from ops.skip.positions import StoppedApplication
from stack.errors import StackError
from streams.model.errors import SinkAwayError
from streams.runtime.faust.source_topics import describe_sources
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.sources import Source
from streams.topics import DEAD_LETTERS, KEY_LEFT_OUT_HEADER, SIZE_UNKNOWN

ANSWER_S: Final = 10.0
READ_S: Final = 10.0


class Record(NamedTuple):
    """A source record as far as it could be read; `offset` is that of the first record found, None if unreadable."""

    offset: int | None
    key: bytes | None = b""
    value: bytes | None = None
    timestamp: int = -1


def run(arguments: argparse.Namespace) -> int:
    """Skip records of one topic partition for one application."""
    environment = settings_environment(arguments)
    kafka = KafkaSettings.read(environment)
    client = {**aiokafka_client(kafka.bootstrap), "client_id": "millrace-skip"}
    app = StoppedApplication(arguments.app, client, output_compression=kafka.output_compression)
    tp = TP(arguments.topic, arguments.partition)
    try:
        _check_stopped(kafka.bootstrap, app.id)
        return asyncio.run(_run(arguments, app, tp, environment))
    except (KafkaError, KafkaException) as error:
        raise StackError(f"cannot skip with Kafka at {kafka.bootstrap}: {error}; nothing was skipped") from None
    except SinkAwayError as error:
        raise StackError(f"cannot skip: {error}; run the command again") from None


async def _run(arguments: argparse.Namespace, app: StoppedApplication, tp: TP, environment: Mapping[str, str]) -> int:
    position = position_of(app, tp, environment)
    try:
        source = (await describe_sources(app.kafka_client, tp.partition, [tp.topic]))[tp.topic]
        committed = await position.offset()
        if arguments.to_beginning:
            letter, target = lost_letter(arguments, committed, source), source.begin
        else:
            record = await read_record(app.kafka_client, tp, source.begin if committed is None else committed, source)
            check_next(tp, arguments.offset, committed, record, source)
            letter, target = skipped_letter(arguments, record), arguments.offset + 1
        await position.move(letter, target, source.topic_id if arguments.to_beginning else None)
    finally:
        await position.close()
    print(f"{app.id} goes on at offset {target} of {tp.topic}/{tp.partition}; a dead letter keeps what was skipped")
    return 0


def _check_stopped(bootstrap: str, app_id: str) -> None:
    """Raise `StackError` if the application has workers."""
    found = described_groups(bootstrap, [app_id])[app_id]
    if not found.is_gone:
        raise StackError(
            f"application {app_id} has {found.members} workers (its group is {found.state.name.lower()}): stop "
            "all of them first, and wait for the session timeout if they were killed"
        )


async def read_record(client: Mapping[str, Any], tp: TP, offset: int, source: Source) -> Record:
    """Read the first record from an offset on; a record that cannot be decoded has no content and no offset."""
    if not source.begin <= offset < source.end:
        return Record(None)
    consumer = aiokafka.AIOKafkaConsumer(**client, isolation_level="read_committed", enable_auto_commit=False)
    await consumer.start()
    try:
        place = TopicPartition(*tp)
        consumer.assign([place])
        consumer.seek(place, offset)
        async with asyncio.timeout(READ_S):
            found = await consumer.getone(place)
    except Exception:  # whatever makes the record unreadable is the reason for skipping it
        return Record(None)
    finally:
        await consumer.stop()
    return Record(found.offset, found.key, found.value, found.timestamp)


def check_next(tp: TP, offset: int, committed: int | None, record: Record, source: Source) -> None:
    """Check that `offset` is the next one to process; offsets of transaction markers before it do not count.

    Raises:
        StackError: another record is the next one, or the offset does not exist.
    """
    if not source.begin <= offset < source.end:
        raise StackError(f"{tp.topic}/{tp.partition} has no offset {offset}: it has {source.begin} to {source.end - 1}")
    following = record.offset if record.offset is not None else committed
    if offset not in (committed, following):
        raise StackError(
            f"offset {offset} is not the next one to process of {tp.topic}/{tp.partition}: the committed offset is "
            f"{committed}, and the next record is at {following}; only the next record can be skipped"
        )


def skipped_letter(arguments: argparse.Namespace, record: Record) -> OutputRecord:
    """Build the dead letter of one skipped record; `record` may be another one if that record could not be read."""
    is_it = record.offset == arguments.offset
    found = record if is_it else Record(None)
    reason = f"skipped by an operator: {arguments.reason}"
    if not is_it:
        reason += " (the record could not be read)"
    return _letter(arguments, reason, arguments.offset, found)


def lost_letter(arguments: argparse.Namespace, committed: int | None, source: Source) -> OutputRecord:
    """Build the dead letter that names the range of lost offsets."""
    known = "an unknown offset" if committed is None else f"offset {committed}"
    reason = (
        f"skipped by an operator: {arguments.reason} (records from {known} on are lost; the application goes on at "
        f"offset {source.begin} of the topic with id {source.topic_id or 'unknown'})"
    )
    return _letter(arguments, reason, committed or 0, Record(None))


def _letter(arguments: argparse.Namespace, reason: str, offset: int, record: Record) -> OutputRecord:
    headers = {
        "reason": reason,
        "app": arguments.app,
        "topic": arguments.topic,
        "partition": str(arguments.partition),
        "offset": str(offset),
        "timestamp": str(record.timestamp),
    }
    if record.offset is None:
        headers[KEY_LEFT_OUT_HEADER] = SIZE_UNKNOWN
    key = b"" if record.key is None and record.value is None else record.key  # a producer refuses a record of nothing
    return OutputRecord(DEAD_LETTERS, key, record.value, tuple((name, text.encode()) for name, text in headers.items()))
