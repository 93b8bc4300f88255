"""Checks of the topics before a worker joins its consumer group, to detect wrong keys and partition counts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.model.change import ChangeDecoder, Malformed
from streams.runtime.partition.hashing import partition_of
from streams.runtime.partition.pipeline import Pipeline

SAMPLE_RECORDS: Final = 5
"""Number of records whose keys are checked at the beginning, the middle and the end of each partition. A misconfigured
connector affects all three samples, whereas a burst of bad records affects only one."""

FEWEST_SAMPLED: Final = 3
"""Minimum number of sampled records; a smaller sample is not checked."""

SAMPLE_TIMEOUT_S: Final = 5.0


class TopicsMismatchError(Exception):
    """Topics are missing, or have wrong partition counts or record keys. The message has one line per faulty topic."""


async def check_pipeline(client: Mapping[str, Any], pipeline: Pipeline, decoders: Mapping[str, ChangeDecoder]) -> None:
    """Check the topics of one pipeline; topics of a pipeline with state must have the table's partition count.

    The record keys of topics without a decoder are not checked.

    Raises:
        TopicsMismatchError: a topic is missing, has a wrong partition count, or has wrong record keys.
    """
    table = pipeline.table
    count = None if table is None else table.partitions
    topics = [*pipeline.sources, *pipeline.outputs, *([pipeline.changelog] if pipeline.changelog else [])]
    counts = await check_partitions(client, dict.fromkeys(topics, count))
    readable = [topic for topic in pipeline.sources if topic in decoders]
    await check_keys(client, {topic: decoders[topic] for topic in readable}, counts)


async def check_partitions(client: Mapping[str, Any], expected: Mapping[str, int | None]) -> Mapping[str, int]:
    """Check that topics exist with the expected partition counts (None: any count); return the actual counts.

    Raises:
        TopicsMismatchError: a topic is missing or has a different partition count.
    """
    admin = AIOKafkaAdminClient(**client)
    await admin.start()
    try:
        described = await admin.describe_topics(list(expected))
    finally:
        await admin.close()
    found = {d["topic"]: len(d["partitions"]) for d in described if d["error_code"] == 0}
    faults = []
    for topic, count in expected.items():
        if topic not in found:
            wanted = "" if count is None else f" with {count} partitions"
            faults.append(f"topic {topic} does not exist: create it{wanted}")
        elif count is not None and found[topic] != count:
            faults.append(
                f"topic {topic} has {found[topic]} partitions, expected {count} like all co-partitioned topics"
            )
    if faults:
        raise TopicsMismatchError("\n".join(faults))
    return found


async def check_keys(
    client: Mapping[str, Any], decoders: Mapping[str, ChangeDecoder], counts: Mapping[str, int]
) -> None:
    """Check a sample of each source topic: record keys must equal the rows' keys and hash to their partition.

    Raises:
        TopicsMismatchError: all sampled records of a topic have wrong keys.
    """
    faults = []
    for topic, decoder in decoders.items():
        partitions = counts[topic]
        sample = await _sample(client, [TopicPartition(topic, number) for number in range(partitions)])
        reasons = [reason for record in sample if (reason := _fault(record, decoder, partitions))]
        if len(sample) >= FEWEST_SAMPLED and len(reasons) == len(sample):  # a few such records become dead letters
            faults.append(f"topic {topic}: {reasons[0]} (all {len(sample)} sampled records have wrong keys)")
    if faults:
        raise TopicsMismatchError("\n".join(faults))


def _fault(record: ConsumerRecord, decoder: ChangeDecoder, partitions: int) -> str | None:
    change = decoder(record.key, record.value)
    if isinstance(change, Malformed):
        return change.reason if change.reason.startswith("key:") else None
    if record.key is not None and partition_of(record.key, partitions) != record.partition:
        return f"key: does not hash to the record's partition {record.partition}; check the producer's partitioner"
    return None


async def _sample(client: Mapping[str, Any], tps: Sequence[TopicPartition]) -> list[ConsumerRecord]:
    consumer = aiokafka.AIOKafkaConsumer(
        **client, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign(tps)
        begins, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        found: dict[tuple[int, int], ConsumerRecord] = {}
        deadline = asyncio.get_running_loop().time() + SAMPLE_TIMEOUT_S
        for place in (0.0, 0.5, 1.0):
            for tp in tps:
                last = max(begins[tp], ends[tp] - SAMPLE_RECORDS)
                consumer.seek(tp, begins[tp] + int((last - begins[tp]) * place))
            for record in await _read(consumer, ends, deadline):
                found[record.partition, record.offset] = record
        return list(found.values())
    finally:
        await consumer.stop()


async def _read(
    consumer: aiokafka.AIOKafkaConsumer, ends: Mapping[TopicPartition, int], deadline: float
) -> list[ConsumerRecord]:
    """Read some records of each partition from the consumer's position, but stop waiting at the deadline."""
    found: list[ConsumerRecord] = []
    waiting = set(ends)
    while waiting and asyncio.get_running_loop().time() < deadline:
        for tp in list(waiting):
            if await consumer.position(tp) >= ends[tp]:
                waiting.discard(tp)
        if waiting:
            polled = await consumer.getmany(*waiting, timeout_ms=200, max_records=SAMPLE_RECORDS)
            for tp, records in polled.items():
                found += records
                waiting.discard(tp)
    return found
