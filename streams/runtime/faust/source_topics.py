"""Ask Kafka for the ids, first offsets and end offsets of source topics.

aiokafka 0.14 knows the metadata request up to version 5, but brokers report topic ids from version 10 on. This module
therefore defines version 12, which all brokers since Kafka 3.0 support, in aiokafka's own terms.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from io import BytesIO
from typing import Any, Final

import aiokafka
from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)
from aiokafka.structs import TopicPartition

from streams.runtime.partition.sources import Source

MISSING: Final = ""
"""Stands for the id of a topic that does not exist."""

NO_ID: Final = uuid.UUID(int=0)
_NO_TAGS: Final[dict[int, bytes]] = {}


class Uuid(AbstractType[uuid.UUID]):  # type: ignore[misc]  # aiokafka has no types
    """A UUID of 16 bytes."""

    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        """Encode a UUID."""
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        """Decode a UUID."""
        return uuid.UUID(bytes=data.read(16))


class MetadataResponse_v12(Response):  # type: ignore[misc]  # noqa: N801  # named as in aiokafka
    """Brokers and topics of the cluster, with the topics' ids."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class MetadataRequest_v12(RequestStruct):  # type: ignore[misc]  # noqa: N801  # named as in aiokafka
    """A request for some topics' metadata."""

    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponse_v12
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicIdsRequest(Request[MetadataRequest_v12]):  # type: ignore[misc]
    """A request for the ids of some topics."""

    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[MetadataRequest_v12]) -> MetadataRequest_v12:
        """Build the request."""
        topics = [(NO_ID, topic, _NO_TAGS) for topic in self._topics]
        return request_struct_class(topics, False, False, _NO_TAGS)


async def topic_ids(client: Any, topics: Collection[str]) -> dict[str, str | None]:
    """Return the id of each topic, as 32 hexadecimal digits, or `MISSING`; None if the brokers are too old for ids.

    Args:
        client: a started `AIOKafkaClient`.

    Raises:
        KafkaError: Kafka does not answer.
    """
    try:
        answer = await client.send(client.get_random_node(), TopicIdsRequest(topics))
    except NotImplementedError:  # raised by aiokafka if the broker does not know this version of the request
        return dict.fromkeys(topics)
    found: dict[str, str | None] = {}
    for code, name, topic_id, *_ in answer.topics:
        if code not in (0, UnknownTopicOrPartitionError.errno):
            raise for_code(code)(f"source topic {name}")
        found[name] = MISSING if code else None if topic_id == NO_ID else topic_id.hex
    return found


async def describe_sources(client: Mapping[str, Any], partition: int, topics: Collection[str]) -> dict[str, Source]:
    """Return the topic id, the first offset and the end offset of a partition of each topic.

    The requests use a new consumer, because in Faust's consumer they would have to wait for a long poll to end.

    Raises:
        UnknownTopicOrPartitionError: a topic does not exist.
        KafkaError: Kafka does not answer.
    """
    consumer = aiokafka.AIOKafkaConsumer(**client)
    await consumer.start()
    try:
        ids = await topic_ids(consumer._client, topics)
        missing = [topic for topic, topic_id in ids.items() if topic_id == MISSING]
        if missing:
            raise UnknownTopicOrPartitionError(f"source topic {missing[0]} does not exist")
        places = {topic: TopicPartition(topic, partition) for topic in topics}
        begins = await consumer.beginning_offsets(list(places.values()))
        ends = await consumer.end_offsets(list(places.values()))
    finally:
        await consumer.stop()
    return {topic: Source(ids[topic], begins[place], ends[place]) for topic, place in places.items()}
