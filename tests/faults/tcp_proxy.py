"""A proxy in front of a server of this machine, in a thread of its own, which can make the network sick.

A subclass may treat single requests; see `kafka_proxy.py` and `proxy.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Self

from stack.ports import HOST, free_ports
from tests.faults.trouble import Trouble, Weather, Wire

CHUNK: Final = 64 * 1024

Ends = tuple[asyncio.StreamReader, Wire]


class Link:
    """A client's connection and its counterpart to the server; passes bytes as they are."""

    def __init__(self, client: Ends, server: Ends) -> None:
        self.client_in, self.client_out = client
        self.server_in, self.server_out = server

    async def run(self) -> None:
        """Pass bytes both ways until one side closes."""
        ways = [asyncio.ensure_future(self.up()), asyncio.ensure_future(self.down())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self.server_out.abort()

    async def up(self) -> None:
        """Pass what the client sends; the connection is cut when this returns."""
        while chunk := await self.client_in.read(CHUNK):
            self.server_out.write(chunk)
            await self.server_out.drain()

    async def down(self) -> None:
        """Pass what the server answers; the connection is cut when this returns."""
        while chunk := await self.server_in.read(CHUNK):
            self.client_out.write(chunk)
            await self.client_out.drain()


class TcpProxy:
    """Stands before the server at a port of this machine; used as a context.

    Attributes:
        port: the port that clients use.
        target: the server's port.
        is_away: whether new connections are refused.
    """

    def __init__(self, target: int) -> None:
        [self.port] = free_ports(["proxy"]).values()
        self.target = target
        self.is_away = False
        self._weather = Weather()
        self._links: set[Wire] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def link(self, client: Ends, server: Ends) -> Link:
        """Make the link of a new connection."""
        return Link(client, server)

    @property
    def address(self) -> str:
        """Address by which clients reach the server through the proxy."""
        return f"{HOST}:{self.port}"

    def trouble(self, trouble: Trouble, draw: random.Random) -> None:
        """Make the network sick from now on."""
        self._weather.draw, self._weather.trouble = draw, trouble
        if trouble is Trouble.RESET:
            self._loop.call_soon_threadsafe(self._reset)

    def heal(self) -> None:
        """Make the network well again; connections that have lost bytes stay as they are."""
        self._weather.trouble = None

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
        self.abort()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    def abort(self) -> None:
        """Cut all connections; called in the proxy's thread."""
        for link in list(self._links):
            link.abort()

    def _reset(self) -> None:
        for link in list(self._links):
            link.reset()

    async def _serve(self, client_in: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client_out = Wire(writer, self._weather)
        self._links.add(client_out)
        with contextlib.suppress(OSError):
            if not self.is_away:
                server_in, server_out = await asyncio.open_connection(HOST, self.target)
                await self.link((client_in, client_out), (server_in, Wire(server_out, self._weather))).run()
        client_out.abort()
        self._links.discard(client_out)
