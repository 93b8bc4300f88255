"""A Kafka broker of one node that answers a transactional producer by a script, over real connections."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, Self

from aiokafka.protocol import admin, coordination, metadata, produce, transaction

HOST: Final = "127.0.0.1"
CUT: Final = -100
"""Instead of an error code: end the connection without an answer."""

CUT_AFTERWARDS: Final = -101
"""As `CUT`, but after the request was handled."""

CONCURRENT_TRANSACTIONS: Final = 51
INVALID_PRODUCER_EPOCH: Final = 47
NOT_ENOUGH_REPLICAS: Final = 19
INVALID_TXN_STATE: Final = 48
MESSAGE_TOO_LARGE: Final = 10
NOT_COORDINATOR: Final = 16
TOPIC_NOT_ALLOWED: Final = 29
GROUP_NOT_ALLOWED: Final = 30
NO_LEADER: Final = -1
REQUESTS: Final = {
    each.API_KEY: each
    for each in (
        produce.ProduceRequest_v7,
        metadata.MetadataRequest_v1,
        coordination.FindCoordinatorRequest_v1,
        admin.ApiVersionRequest_v0,
        transaction.InitProducerIdRequest_v0,
        transaction.AddPartitionsToTxnRequest_v0,
        transaction.AddOffsetsToTxnRequest_v0,
        transaction.EndTxnRequest_v0,
        transaction.TxnOffsetCommitRequest_v0,
    )
}


class Seen(NamedTuple):
    """A request: when it came (of the loop's clock), its name without the version, and its fields."""

    at: float
    name: str
    fields: Any


class ScriptedBroker:
    """Answers every request with success, unless the script says otherwise; used as a context.

    Args:
        topics: names of the topics; each has one partition.

    Attributes:
        script: called with the name of each request; returns an error code, `CUT`, `CUT_AFTERWARDS`, or 0.
        leader: the leader of every partition, as the metadata say.
        seen: all requests, in order.
        epoch: the producer's epoch, which grows with each InitProducerId.
        port: the port of this machine.
        advertised_port: the port that clients are sent to, if it is not the same.
        connections: connections that are open.
    """

    def __init__(self, *topics: str) -> None:
        self.script: Callable[[str], int] = lambda name: 0
        self.leader = 1
        self.advertised_port: int | None = None
        self.seen: list[Seen] = []
        self.epoch = -1
        self.connections: set[asyncio.StreamWriter] = set()
        self._topics = topics
        self._offset = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in [*self.connections]:
            connection.transport.abort()

    def counts(self) -> Counter[str]:
        """Number of requests by name."""
        return Counter(each.name for each in self.seen)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                [size] = struct.unpack(">i", await reader.readexactly(4))
                answer = self._answer(await reader.readexactly(size))
                if answer is None:
                    break
                writer.write(struct.pack(">i", len(answer)) + answer)
        self.connections.discard(writer)
        writer.transport.abort()

    def _answer(self, request: bytes) -> bytes | None:
        api_key, _, correlation_id, client_length = struct.unpack_from(">hhih", request)
        kind = REQUESTS[api_key]
        fields = kind.decode(request[10 + max(0, client_length) :])
        name = kind.__name__.partition("Request")[0]
        self.seen.append(Seen(asyncio.get_running_loop().time(), name, fields))
        code = self.script(name)
        if code == CUT:
            return None
        values = getattr(self, f"_answer_{name.lower()}")(fields, max(code, 0))
        if code == CUT_AFTERWARDS:
            return None
        encoded: bytes = kind.RESPONSE_TYPE(*values).encode()
        return struct.pack(">i", correlation_id) + encoded

    # -- answers: the values of a response's fields -------------------------------------------------------------------

    def _answer_apiversion(self, fields: Any, code: int) -> tuple[Any, ...]:
        return code, [(key, kind.API_VERSION, kind.API_VERSION) for key, kind in REQUESTS.items()]

    def _answer_metadata(self, fields: Any, code: int) -> tuple[Any, ...]:
        partition = (0 if self.leader >= 0 else 5, 0, self.leader, [1], [1])
        return (
            [(1, HOST, self.advertised_port or self.port, None)],
            1,
            [(0, topic, False, [partition]) for topic in self._topics],
        )

    def _answer_findcoordinator(self, fields: Any, code: int) -> tuple[Any, ...]:
        return 0, code, None, 1, HOST, self.advertised_port or self.port

    def _answer_initproducerid(self, fields: Any, code: int) -> tuple[Any, ...]:
        self.epoch += 1
        return 0, code, 7, self.epoch

    def _answer_addpartitionstotxn(self, fields: Any, code: int) -> tuple[Any, ...]:
        return 0, [(topic, [(number, code) for number in numbers]) for topic, numbers in fields.topics]

    def _answer_addoffsetstotxn(self, fields: Any, code: int) -> tuple[Any, ...]:
        return 0, code

    def _answer_txnoffsetcommit(self, fields: Any, code: int) -> tuple[Any, ...]:
        return 0, [(topic, [(number, code) for number, *_ in offsets]) for topic, offsets in fields.topics]

    def _answer_endtxn(self, fields: Any, code: int) -> tuple[Any, ...]:
        return 0, code

    def _answer_produce(self, fields: Any, code: int) -> tuple[Any, ...]:
        self._offset += 1
        answers = [
            (topic, [(number, code, self._offset, -1, 0) for number, _ in each]) for topic, each in fields.topics
        ]
        return answers, 0


def first_times(name: str, times: int, code: int) -> Callable[[str], int]:
    """A script in which the first requests of a name get an error code."""
    left = [times]

    def script(asked: str) -> int:
        if asked != name or not left[0]:
            return 0
        left[0] -= 1
        return code

    return script
