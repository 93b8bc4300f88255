"""Goal: all that the workers write to Kafka is compressed as the setting says, and can be read by every client.

Method: the real producers against a scripted broker, which keeps the record batches that it was sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.record.memory_records import MemoryRecords

from config.settings import KafkaSettings
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.committer import KafkaTransactions
from tables.dead_letters import DeadLetterProducer
from tests.support.scripted_broker import ScriptedBroker

NUMBERS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
RECORD = OutputRecord("order_final", b"key", b"value " * 1_000)


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    async with ScriptedBroker("order_final") as broker:
        yield broker


@pytest.fixture(params=NUMBERS)
def chosen(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def compression(name: str) -> str | None:
    return KafkaSettings.read({"KAFKA_BOOTSTRAP": "a:1", "OUTPUT_COMPRESSION": name}).output_compression


def written(broker: ScriptedBroker) -> list[tuple[int, bytes]]:
    """The compression and the value of each record that the broker was sent."""
    found = []
    for request in (each.fields for each in broker.seen if each.name == "Produce"):
        for _, partitions in request.topics:
            for _, batches in partitions:
                records = MemoryRecords(batches)
                while records.has_next():
                    batch: Any = records.next_batch()
                    codec = batch.compression_type
                    found += [(codec, record.value) for record in batch]
    return found


async def test_outputs_of_a_transaction(broker: ScriptedBroker, chosen: str) -> None:
    async def no_offsets(partition: int) -> dict[str, tuple[int | None, str]]:
        return {}

    committer = KafkaTransactions(
        partition=0,
        group="group",
        transactional_id="orders-0",
        transaction_timeout_ms=10_000,
        compression=compression(chosen),
        client={"bootstrap_servers": f"127.0.0.1:{broker.port}"},
        read_committed_offsets=no_offsets,
    )
    await committer.open()
    await committer.commit([RECORD], {"orders": 1})
    await committer.close()
    assert written(broker) == [(NUMBERS[chosen], RECORD.value)]


async def test_dead_letters_of_other_sinks(broker: ScriptedBroker, chosen: str) -> None:
    client = {"bootstrap_servers": f"127.0.0.1:{broker.port}"}
    app = SimpleNamespace(kafka_client=client, output_compression=compression(chosen))
    producer = DeadLetterProducer(cast(Any, app))
    await producer.keep([RECORD])
    await producer.close()
    assert written(broker) == [(NUMBERS[chosen], RECORD.value)]


def test_zstd_is_the_default() -> None:
    assert KafkaSettings.read({"KAFKA_BOOTSTRAP": "a:1"}).output_compression == "zstd"
