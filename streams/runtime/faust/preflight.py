"""Checks of the topics before a worker joins its group, so that wrong keys or partition counts never go unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.model.change import ChangeDecoder, Malformed
from streams.runtime.partition.pipeline import Pipeline

SAMPLE_RECORDS: Final = 5
"""Number of records whose keys are checked in each of a partition's oldest, middle and newest part: a connector's
mistake shows in all of them, a burst of bad records in one only."""

FEWEST_SAMPLED: Final = 3
"""Minimum number of records from which the connector can be judged."""

SAMPLE_TIMEOUT_S: Final = 5.0


class TopicsMismatchError(Exception):
    """Topics are missing, have different partition counts, or have keys unsuitable for the join; one line per fault."""


async def check_pipeline(client: Mapping[str, Any], pipeline: Pipeline, decoders: Mapping[str, ChangeDecoder]) -> None:
    """Check the topics of one pipeline; all topics of a pipeline with state must have the table's partition count.

    Keys of topics without a decoder are not checked.

    Raises:
        TopicsMismatchError: see `check_partitions` and `check_keys`.
    """
    table = pipeline.table
    count = None if table is None else table.partitions
    topics = [*pipeline.sources, *pipeline.outputs, *([pipeline.changelog] if pipeline.changelog else [])]
    counts = await check_partitions(client, dict.fromkeys(topics, count))
    readable = [topic for topic in pipeline.sources if topic in decoders]
    await check_keys(client, {topic: decoders[topic] for topic in readable}, counts)


async def check_partitions(client: Mapping[str, Any], expected: Mapping[str, int | None]) -> Mapping[str, int]:
    """Compare the partition counts of topics with the expected ones (None: any count); return the counts found.

    Raises:
        TopicsMismatchError: a topic is missing or has another number of partitions.
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
            wanted = "" if count is None else f"; expected {count} partitions"
            faults.append(f"topic {topic} does not exist{wanted}")
        elif count is not None and found[topic] != count:
            faults.append(f"topic {topic} has {found[topic]} partitions, expected {count} as its co-partitioned topics")
    if faults:
        raise TopicsMismatchError("\n".join(faults))
    return found


async def check_keys(
    client: Mapping[str, Any], decoders: Mapping[str, ChangeDecoder], counts: Mapping[str, int]
) -> None:
    """Check samples of each source topic: keys must equal the row's key, and be in the partition that they hash to.

    Raises:
        TopicsMismatchError: every record of a topic's sample is wrong.
    """
    faults = []
    for topic, decoder in decoders.items():
        partitions = counts[topic]
        sample = await _sample(client, [TopicPartition(topic, number) for number in range(partitions)])
        reasons = [reason for record in sample if (reason := _fault(record, decoder, partitions))]
        if len(sample) >= FEWEST_SAMPLED and len(reasons) == len(sample):  # single bad records become dead letters
            faults.append(f"topic {topic}: {reasons[0]} (as in all {len(sample)} sampled records)")
    if faults:
        raise TopicsMismatchError("\n".join(faults))


def _fault(record: ConsumerRecord, decoder: ChangeDecoder, partitions: int) -> str | None:
    change = decoder(record.key, record.value)
    if isinstance(change, Malformed):
        return change.reason if change.reason.startswith("key:") else None
    if record.key is not None:
        numbers = list(range(partitions))
        if DefaultPartitioner()(record.key, numbers, numbers) != record.partition:
            return f"key: partition {record.partition} is not the one the key hashes to"
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
    """Read some records of each partition from its position, or those that arrive by the deadline."""
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
