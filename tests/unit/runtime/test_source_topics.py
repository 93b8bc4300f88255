"""Goal: the ids of topics are read from Kafka's metadata as the protocol defines it.

Method: a client that answers with an encoded response; `tests/streams/test_worker_start.py` asks a real broker.
"""

from __future__ import annotations

import uuid
from io import BytesIO
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, TopicAuthorizationFailedError

from streams.runtime.faust.source_topics import MISSING, NO_ID, MetadataResponse_v12, TopicIdsRequest, topic_ids

ID = uuid.UUID(int=7)
PARTITION: Any = (0, 0, 1, 4, [1, 2], [1], [2], {})


class Client:
    """A client whose broker knows some versions of the metadata request, and has these topics."""

    def __init__(self, *topics: tuple[int, str, uuid.UUID], newest: int = 13) -> None:
        self.topics = topics
        self.newest = newest
        self.asked = b""

    def get_random_node(self) -> int:
        return 1

    async def send(self, node: int, request: TopicIdsRequest) -> Any:
        self.asked = request.prepare({3: (0, self.newest)}).encode()
        topics: Any = [(code, name, id_, False, [PARTITION], -(2**31), {}) for code, name, id_ in self.topics]
        answer = MetadataResponse_v12(0, [(1, "127.0.0.1", 9092, None, {})], "cluster", 1, topics, {})
        return MetadataResponse_v12.decode(BytesIO(answer.encode()))


async def test_each_topic_has_its_id() -> None:
    client = Client((0, "orders", ID), (3, "lost", NO_ID), (0, "old", NO_ID))
    assert await topic_ids(client, ["orders", "lost", "old"]) == {"orders": ID.hex, "lost": MISSING, "old": None}
    topics = b"".join(bytes(16) + bytes([len(name) + 1]) + name + b"\0" for name in (b"orders", b"lost", b"old"))
    assert client.asked == b"\x04" + topics + b"\0\0\0", "no topic is created by asking for it"


async def test_old_brokers_have_no_ids() -> None:
    assert await topic_ids(Client(newest=9), ["orders"]) == {"orders": None}


async def test_another_error_of_a_topic_is_raised() -> None:
    with pytest.raises(TopicAuthorizationFailedError) as raised:
        await topic_ids(Client((29, "orders", NO_ID)), ["orders"])
    assert isinstance(raised.value, KafkaError)


def test_the_client_has_what_is_used() -> None:
    assert hasattr(AIOKafkaClient, "get_random_node")
    with pytest.raises(IncompatibleBrokerVersion):
        TopicIdsRequest(["orders"]).prepare({})
