"""The transactional producer of the commands that append records to topics."""

from __future__ import annotations

from typing import Final

from confluent_kafka import Producer

from config.kafka_security import librdkafka_client
from ops.context import SILENT

TRANSACTION_TIMEOUT_MS: Final = 15_000
"""Time after which Kafka aborts the transaction of a killed command; until then, consumers of the topic wait."""

ANSWER_S: Final = 30.0
"""Time limit for each request of a transaction."""

_LARGEST_BYTES: Final = 32 * 1024 * 1024


def transactional_producer(bootstrap: str, transactional_id: str) -> Producer:
    """Create a producer whose keys go to the same partitions as those of the connector and the workers."""
    return Producer(
        {
            **librdkafka_client(bootstrap),
            "transactional.id": transactional_id,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            "message.max.bytes": _LARGEST_BYTES,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
        },
        logger=SILENT,
    )
