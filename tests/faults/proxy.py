"""A proxy in front of the object storage that delays requests, loses answers, or is unreachable.

Bytes pass as they are. A request is known by its first line: HTTP clients send the next one on a connection only when
the last one was answered, so its head is at the beginning of what is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections import Counter
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Self

from stack.ports import HOST, free_ports

CHUNK: Final = 64 * 1024
_FIRST_LINE: Final = re.compile(rb"(?:GET|HEAD|PUT|POST|DELETE) \S+ HTTP/1\.1\r\n")
_CONTINUE: Final = b"HTTP/1.1 100"

LOG_PUT: Final = r"^PUT \S+/_delta_log/\d{20}\.json "
"""The commit of a Delta table."""


class Proxy:
    """Stands before the server at a port of this machine; used as a context.

    Attributes:
        lost: requests whose answer was lost, in their order.
    """

    def __init__(self, port: int) -> None:
        [self.port] = free_ports(["proxy"]).values()
        self.lost: list[str] = []
        self._target = port
        self._held_up: tuple[re.Pattern[str], float] | None = None
        self._losing: tuple[re.Pattern[str], int, bool] | None = None
        self._times: Counter[str] = Counter()
        self._is_away = False
        self._links: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

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
        self._held_up, self._losing, self._is_away = None, None, False
        self._times.clear()

    # -- its life -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, HOST, self.port))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _end(self) -> None:
        self._server.close()
        self._abort()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    def _abort(self) -> None:
        for link in list(self._links):
            link.transport.abort()

    # -- one connection -----------------------------------------------------------------------------------------------

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        self._links.add(client_out)
        with contextlib.suppress(OSError):
            if not self._is_away:
                server_in, server_out = await asyncio.open_connection(HOST, self._target)
                link = _Link(self, (client_in, client_out), (server_in, server_out))
                await link.run()
        client_out.transport.abort()
        self._links.discard(client_out)

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
            self._is_away = True
            self._abort()


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """A client's connection and its counterpart to the server."""

    def __init__(self, proxy: Proxy, client: Ends, server: Ends) -> None:
        self._proxy = proxy
        self._client_in, self._client_out = client
        self._server_in, self._server_out = server
        self._losing: str | None = None

    async def run(self) -> None:
        """Pass bytes both ways until one side closes."""
        ways = [asyncio.ensure_future(self._up()), asyncio.ensure_future(self._down())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._server_out.transport.abort()

    async def _up(self) -> None:
        while chunk := await self._client_in.read(CHUNK):
            if found := _FIRST_LINE.match(chunk):
                line = found[0].decode().strip()
                self._losing = line if await self._proxy.treat(line) else None
            self._server_out.write(chunk)
            await self._server_out.drain()

    async def _down(self) -> None:
        while chunk := await self._server_in.read(CHUNK):
            if self._losing is not None and not chunk.startswith(_CONTINUE):
                self._proxy.lose(self._losing)
                return
            self._client_out.write(chunk)
            await self._client_out.drain()
