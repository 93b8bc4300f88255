"""A proxy in front of Kafka that holds some requests that end a transaction, and delivers them too late.

A request that is held does not reach the broker; its connection is cut, as by a proxy that restarts. The client
repeats it on another connection, and goes on. While the next transaction of the same transactional id is open, and its
first records or its offsets are written, the broker gets the held request, before the client's next one. An id that is
given up instead has no next transaction; the broker gets the request after the id was initialised.
"""

from __future__ import annotations

import asyncio
import random
import struct
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from stack.ports import HOST
from tests.faults.tcp_proxy import CHUNK, Ends, Link, TcpProxy

PRODUCE: Final = 0
INIT_PRODUCER_ID: Final = 22
ADD_PARTITIONS: Final = 24
ADD_OFFSETS: Final = 25
END_TXN: Final = 26
OFFSET_COMMIT: Final = 28
AFTER_A_PART: Final = frozenset({PRODUCE, ADD_OFFSETS, OFFSET_COMMIT, END_TXN})

FLEXIBLE_FROM: Final = {
    PRODUCE: 9,
    INIT_PRODUCER_ID: 2,
    ADD_PARTITIONS: 3,
    ADD_OFFSETS: 3,
    END_TXN: 3,
    OFFSET_COMMIT: 3,
}
"""Requests of a transaction, all of which begin with the transactional id, and their first version with compact texts
and tagged fields."""

_SIZE: Final = struct.Struct(">i")
_HEAD: Final = struct.Struct(">hhih")
ANSWER_S: Final = 10.0

SHARED: Final = "-shared-"
"""Part of the ids that several partitions share. A worker initialises one again only to give it up."""

GIVEN_UP_S: Final = 2.0
"""Time after which such an id has surely been initialised."""


class Request(NamedTuple):
    """A request of a transaction: its API key and version, the transactional id, and its bytes with their size."""

    key: int
    version: int
    transactional_id: str
    content: bytes


def parse(content: bytes) -> Request | None:
    """Return a request of a transaction; None for any other."""
    key, version, _, client_length = _HEAD.unpack_from(content, _SIZE.size)
    if key not in FLEXIBLE_FROM or (key == PRODUCE and version < 3):
        return None
    at = _SIZE.size + _HEAD.size + max(0, client_length)
    if version >= FLEXIBLE_FROM[key]:
        length, at = content[at + 1] - 1, at + 2  # no tags; a compact text of less than 127 bytes
    else:
        [length] = struct.unpack_from(">h", content, at)
        at += 2
    return Request(key, version, content[at : at + max(0, length)].decode(), content) if length > 0 else None


@dataclass
class _Producer:
    """What the proxy knows of a transactional id.

    Attributes:
        held: a request that is held.
        is_repeated: whether the client has gone on, with the repeated request or a new epoch.
        wait: requests after the first records or offsets that pass before the held one is delivered.
        has_part: whether records or offsets of the current transaction have passed.
    """

    held: Request | None = None
    is_repeated: bool = False
    wait: int = 0
    has_part: bool = False


@dataclass
class LateRequests:
    """What was held, and how the broker answered.

    Attributes:
        seen: transactions that were to be ended; a repeated request is not counted.
        held: those of them whose first request was held.
        answers: error codes of those that were delivered, 0 if the broker accepted one.
    """

    seen: int = 0
    held: int = 0
    answers: list[int] = field(default_factory=list)


class KafkaProxy(TcpProxy):
    """Stands before a broker at a port of this machine; used as a context.

    Attributes:
        late: what was held since the last call of `hold`.
        beside: the same, of transactions of another system.
    """

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.late = LateRequests()
        self.beside = LateRequests()
        self._share = self._share_beside = 0.0
        self._ours = ""
        self._draw = random.Random(0)  # noqa: S311 - load, no secrets
        self._producers: dict[str, _Producer] = {}
        self._later: list[asyncio.Task[None]] = []

    def hold(self, share: float, draw: random.Random, *, ours: str = "", share_beside: float = 0.0) -> None:
        """From now on, hold the first request that ends a transaction, in a share of the transactions.

        Args:
            ours: beginning of the transactional ids that `late` counts.
            share_beside: share of the transactions with other ids, which `beside` counts.
        """
        self.late, self.beside, self._producers = LateRequests(), LateRequests(), {}
        self._share, self._share_beside, self._ours, self._draw = share, share_beside, ours, draw

    def heal(self) -> None:
        """Pass all requests; those that are held are never delivered."""
        super().heal()
        self._share = self._share_beside = 0.0
        self._producers = {}

    def link(self, client: Ends, server: Ends) -> Link:
        """Make the link of a new connection."""
        return _KafkaLink(self, client, server)

    async def passes(self, request: Request) -> bool:
        """Whether a request may pass; if it is held instead, the connection is to be cut."""
        producer = self._producers.setdefault(request.transactional_id, _Producer())
        if producer.held is not None and producer.is_repeated and producer.has_part:
            await self._deliver_in_time(producer, request)
        if request.key == END_TXN and not self._treat(producer, request):
            return False
        if request.key == INIT_PRODUCER_ID:
            producer.is_repeated = True
            if producer.held is not None and SHARED in request.transactional_id:
                self._later.append(asyncio.create_task(self._deliver_to_nobody(producer)))
        if request.key in {INIT_PRODUCER_ID, END_TXN}:
            producer.has_part = False
        elif request.key in {PRODUCE, OFFSET_COMMIT}:
            producer.has_part = True
        return True

    def _treat(self, producer: _Producer, request: Request) -> bool:
        """Count a request that ends a transaction; whether it passes."""
        if producer.held is not None:
            producer.is_repeated = True
            return True
        late, share = self._counted(request)
        late.seen += 1
        if self._draw.random() >= share:
            return True
        late.held += 1
        producer.held, producer.is_repeated, producer.wait = request, False, self._draw.choice((0, 0, 0, 1))
        return False

    def _counted(self, request: Request) -> tuple[LateRequests, float]:
        """Return what counts a request, and the share that is held."""
        is_ours = request.transactional_id.startswith(self._ours)
        return (self.late, self._share) if is_ours else (self.beside, self._share_beside)

    async def _deliver_in_time(self, producer: _Producer, request: Request) -> None:
        if request.key not in AFTER_A_PART:
            return
        if producer.wait and request.key != END_TXN:
            producer.wait -= 1
            return
        assert producer.held is not None
        held, producer.held = producer.held, None
        late, _ = self._counted(held)
        late.answers.append(await self._deliver(held))

    async def _deliver_to_nobody(self, producer: _Producer) -> None:
        """Deliver a held request of an id that is given up, and has no next transaction, once it is initialised."""
        held, producer.held = producer.held, None
        assert held is not None
        await asyncio.sleep(GIVEN_UP_S)
        late, _ = self._counted(held)
        late.answers.append(await self._deliver(held))

    async def _deliver(self, request: Request) -> int:
        """Send a request on a connection of its own, and return the error code of the answer."""
        server_in, server_out = await asyncio.open_connection(HOST, self.target)
        try:
            async with asyncio.timeout(ANSWER_S):
                server_out.write(request.content)
                [size] = _SIZE.unpack(await server_in.readexactly(_SIZE.size))
                answer = await server_in.readexactly(size)
        finally:
            server_out.transport.abort()
        is_flexible = request.version >= FLEXIBLE_FROM[request.key]
        code: int = struct.unpack_from(">h", answer, 4 + is_flexible + 4)[
            0
        ]  # after correlation id, tags, throttle time
        return code


class _KafkaLink(Link):
    """A connection on which requests of transactions may be held."""

    def __init__(self, proxy: KafkaProxy, client: Ends, server: Ends) -> None:
        super().__init__(client, server)
        self._proxy = proxy

    async def up(self) -> None:
        """Pass requests one by one, until one is held."""
        waiting = bytearray()
        while chunk := await self.client_in.read(CHUNK):
            waiting += chunk
            while len(waiting) >= _SIZE.size:
                size = _SIZE.size + _SIZE.unpack_from(waiting)[0]
                if len(waiting) < size:
                    break
                content = bytes(waiting[:size])
                del waiting[:size]
                request = parse(content)
                if request is not None and not await self._proxy.passes(request):
                    return
                self.server_out.write(content)
            await self.server_out.drain()
