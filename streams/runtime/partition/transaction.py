"""What a Kafka transaction of one or several partitions sends before it ends."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.producer import PartitionProducer

PREPARED_BATCH_BYTES: Final = 512 * 1024
"""Maximum size of a record batch that is built before it is sent; below the brokers' default limit of 1 MB."""

LARGEST_REQUEST_BYTES: Final = 16 * 1024 * 1024
"""Maximum size of a produce request. A dead letter contains a whole rejected record, which may be large."""

SentBatch = tuple[Awaitable[Any], int]
"""The future of a record batch, which returns the offset of its first record, and the number of its records."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one partition commits in a transaction.

    Attributes:
        partition: the number of the partition, of the output topics as well as of the source topics.
        outputs: the records to write.
        offsets: the next offset to process of each source topic, and a text to keep beside it.
    """

    partition: int
    outputs: Sequence[OutputRecord]
    offsets: Mapping[str, tuple[int, str]]

    def places(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """Return the offsets in aiokafka's form."""
        return {TopicPartition(topic, self.partition): OffsetAndMetadata(*at) for topic, at in self.offsets.items()}


async def send_all(producer: PartitionProducer, group: str, parts: Sequence[Part]) -> list[dict[str, int]]:
    """Begin a transaction, and send records and offsets; return when Kafka has accepted all of them.

    Returns:
        for each part, the last offset written to each output topic.
    """
    await producer.begin_transaction()
    offsets = {place: at for part in parts for place, at in part.places().items()}
    offsets_sent = producer.add_offsets(offsets, group) if offsets else None  # first, to begin with them at once
    pending = [await send_part(producer, part) for part in parts]
    # aiokafka commits even if a request has failed, so every future is awaited first.
    written = [{topic: await last_offset(batches) for topic, batches in by_topic.items()} for by_topic in pending]
    if offsets_sent is not None:
        await asyncio.shield(offsets_sent)
    return written


async def send_part(producer: PartitionProducer, part: Part) -> dict[str, list[SentBatch]]:
    """Send the records of a partition, in batches by topic."""
    by_topic: dict[str, list[OutputRecord]] = defaultdict(list)
    for record in part.outputs:
        by_topic[record.topic].append(record)
    return {topic: await send_records(producer, topic, part.partition, each) for topic, each in by_topic.items()}


async def send_records(
    producer: PartitionProducer, topic: str, partition: int, records: Sequence[OutputRecord]
) -> list[SentBatch]:
    """Send records in prepared batches; one future per batch costs less time than one per record."""
    sent: list[SentBatch] = []
    builder = producer.create_batch()
    for record in records:
        headers = list(record.headers)
        if builder.append(key=record.key, value=record.value, timestamp=None, headers=headers) is None:
            sent.append((await producer.send_batch(builder, topic, partition=partition), builder.record_count()))
            builder = producer.create_batch()
            added = builder.append(key=record.key, value=record.value, timestamp=None, headers=headers)
            assert added is not None, "an empty batch must accept any record"
    builder.close()
    sent.append((await producer.send_batch(builder, topic, partition=partition), builder.record_count()))
    return sent


async def last_offset(batches: Sequence[SentBatch]) -> int:
    """Wait until Kafka has accepted all batches of a topic; return the offset of the last record."""
    last = -1
    for future, count in batches:
        last = (await future).offset + count - 1  # the future returns the first offset of its batch
    return last
