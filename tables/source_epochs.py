"""Reads the newest epoch that an operator has begun for the source, from the topic `source_epochs`.

The topic is read only when a partition meets a change of an unknown origin, so it is not kept in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiokafka
from aiokafka.structs import TopicPartition

from streams.model.begun_epoch import newest_epoch
from streams.topics import SOURCE_EPOCHS

READ_TIMEOUT_S: Final = 30.0
POLL_MS: Final = 200


async def begun_epoch(client: Mapping[str, Any], dataset: str) -> int:
    """Return the newest epoch of the dataset's source; 0 if none has begun, or if the topic does not exist.

    Raises:
        KafkaError, TimeoutError: Kafka does not answer.
    """
    consumer = aiokafka.AIOKafkaConsumer(
        **client, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    async with asyncio.timeout(READ_TIMEOUT_S):
        await consumer.start()
        try:
            if SOURCE_EPOCHS not in await consumer.topics():
                return 0
            return newest_epoch(await _records(consumer), dataset)
        finally:
            await consumer.stop()


async def _records(consumer: aiokafka.AIOKafkaConsumer) -> list[tuple[bytes | None, bytes | None]]:
    place = TopicPartition(SOURCE_EPOCHS, 0)
    consumer.assign([place])
    end = (await consumer.end_offsets([place]))[place]
    found: list[tuple[bytes | None, bytes | None]] = []
    while await consumer.position(place) < end:
        polled = await consumer.getmany(place, timeout_ms=POLL_MS)
        found += [(record.key, record.value) for record in polled.get(place, [])]
    return found
