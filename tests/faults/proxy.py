"""A proxy in front of the object storage that delays requests, loses answers, or is unreachable.

Bytes pass as they are. A request is known by its first line: HTTP clients send the next one on a connection only when
the last one was answered, so its head is at the beginning of what is read.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Final

from stack.ports import HOST
from tests.faults.tcp_proxy import CHUNK, Ends, Link, TcpProxy

_FIRST_LINE: Final = re.compile(rb"(?:GET|HEAD|PUT|POST|DELETE) \S+ HTTP/1\.1\r\n")
_CONTINUE: Final = b"HTTP/1.1 100"

LOG_PUT: Final = r"^PUT \S+/_delta_log/\d{20}\.json "
"""The commit of a Delta table."""


class Proxy(TcpProxy):
    """Stands before the storage at a port of this machine; used as a context.

    Attributes:
        lost: requests whose answer was lost, in their order.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.lost: list[str] = []
        self._held_up: tuple[re.Pattern[str], float] | None = None
        self._losing: tuple[re.Pattern[str], int, bool] | None = None
        self._times: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """URL by which clients reach the storage through the proxy."""
        return f"http://{HOST}:{self.port}"

    # -- what goes wrong ----------------------------------------------------------------------------------------------

    def hold_up(self, pattern: str, seconds: float) -> None:
        """Delay requests with this first line."""
        self._held_up = (re.compile(pattern), seconds)

    def lose_answers(self, pattern: str, *, times: int = 1, then_away: bool = False) -> None:
        """Lose the first answers to each request of this first line; `then_away`: and be away from then on."""
        self._losing = (re.compile(pattern), times, then_away)

    def heal(self) -> None:
        """Pass all requests again."""
        super().heal()
        self._held_up, self._losing, self.is_away = None, None, False
        self._times.clear()

    # -- one connection -----------------------------------------------------------------------------------------------

    def link(self, client: Ends, server: Ends) -> Link:
        """Make the link of a new connection."""
        return _HttpLink(self, client, server)

    async def treat(self, line: str) -> bool:
        """Hold a request up, if it is one of those; whether its answer is to be lost."""
        if self._held_up is not None and self._held_up[0].search(line):
            await asyncio.sleep(self._held_up[1])
        if self._losing is None or not self._losing[0].search(line):
            return False
        self._times[line] += 1
        return self._times[line] <= self._losing[1]

    def lose(self, line: str) -> None:
        """Note that an answer is lost."""
        self.lost.append(line)
        if self._losing is not None and self._losing[2]:
            self.is_away = True
            self.abort()


class _HttpLink(Link):
    """A connection on which answers may be lost."""

    def __init__(self, proxy: Proxy, client: Ends, server: Ends) -> None:
        super().__init__(client, server)
        self._proxy = proxy
        self._losing: str | None = None

    async def up(self) -> None:
        """Pass requests."""
        while chunk := await self.client_in.read(CHUNK):
            if found := _FIRST_LINE.match(chunk):
                line = found[0].decode().strip()
                self._losing = line if await self._proxy.treat(line) else None
            self.server_out.write(chunk)
            await self.server_out.drain()

    async def down(self) -> None:
        """Pass answers, but those that are to be lost."""
        while chunk := await self.server_in.read(CHUNK):
            if self._losing is not None and not chunk.startswith(_CONTINUE):
                self._proxy.lose(self._losing)
                return
            self.client_out.write(chunk)
            await self.client_out.drain()
