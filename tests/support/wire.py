"""Record batches as brokers store them, including batches that no client library would write."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence

import aiokafka
from aiokafka.record._crc32c import crc
from aiokafka.record.default_records import DefaultRecordBatchBuilder

_CRC_OFFSET = 17
_AFTER_CRC = 21

Record = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]


def record_batch(records: Sequence[Record], *, base: int = 0, codec: int = 0, timestamp_ms: int = 1_000) -> bytes:
    """Build a batch of records (key, value, headers); `codec` is the number of the compression in the format."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2**31 - 1,
    )
    for number, (key, value, headers) in enumerate(records):
        builder.append(number, timestamp_ms, key, value, list(headers))
    return struct.pack(">q", base) + bytes(builder.build())[8:]


def patched(batch: bytes, good: bytes, bad: bytes) -> bytes:
    """Replace bytes of an uncompressed batch by as many others, and correct the checksum."""
    assert len(good) == len(bad)
    assert good in batch
    changed = bytearray(batch.replace(good, bad))
    changed[_CRC_OFFSET:_AFTER_CRC] = struct.pack(">I", crc(bytes(changed[_AFTER_CRC:])) & 0xFFFFFFFF)
    return bytes(changed)


def send(bootstrap: str, topic: str, partition: int, batch: bytes) -> None:
    """Write a batch to a topic as it is."""

    async def sent() -> None:
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=2**30)
        await producer.start()
        try:
            builder = producer.create_batch()
            builder.append(timestamp=None, key=b"replaced", value=None)
            builder._build()
            builder._buffer = batch
            await (await producer.send_batch(builder, topic, partition=partition))
        finally:
            await producer.stop()

    asyncio.run(sent())
