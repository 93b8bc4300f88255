"""Web servers of workers in this process: real applications and sockets, without Kafka."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import unquote

import pytest
from faust.exceptions import SameNode
from faust.web import Request, Response, View
from yarl import URL

from stack.ports import free_ports
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.faust.router import BoundedRouter

ANSWER_S: Final = 20.0


class WebWorker:
    """A worker's web server with one page, `/orders/{order_id}/`, which it answers or routes to `owner`."""

    def __init__(self, name: str, folder: Path, *, token: str | None = None, peers: Sequence[str] = ()) -> None:
        [self.port] = free_ports([name]).values()
        self.name = name
        self.owner: str | None = None
        self.requests: list[Any] = []
        self.app = TransactionalApp(
            name,
            bootstrap="127.0.0.1:1",
            state_dir=folder,
            batch_max_records=1,
            waiting_max_bytes=1_000,
            transaction_timeout_ms=1_000,
            web_token=token,
            web_peers=peers,
            web_bind="127.0.0.1",
            web_host="127.0.0.1",
            web_port=self.port,
        )

        @self.app.page("/orders/{order_id}/")
        async def order(view: View, request: Request, order_id: str) -> Response:
            self.requests.append(request)
            if self.owner is not None:
                with contextlib.suppress(SameNode):
                    router = cast(BoundedRouter, self.app.router)
                    return await router._route_req(URL(self.owner), view.web, request)
            return view.json({"order_id": unquote(order_id), "from": self.name})

    @property
    def url(self) -> str:
        """What this worker advertises."""
        return f"http://127.0.0.1:{self.port}"

    def knows(self, *urls: str) -> None:
        """Make these the addresses that the members of the group advertise."""
        self.app.assignor.changelog_distribution = {url: {"changelog": [number]} for number, url in enumerate(urls)}  # type: ignore[attr-defined]

    async def raw(self, text: str) -> bytes:
        """Send text on a new connection, and return the first response."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(text.encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S)
            if head.startswith(b"HTTP/1.1 100"):  # go on
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S)
            _, _, after = head.lower().partition(b"content-length:")
            return head + await asyncio.wait_for(reader.readexactly(int(after.split()[0])), ANSWER_S)
        finally:
            writer.close()

    async def get(self, path: str, *headers: str) -> bytes:
        """Return the response to a GET without a body."""
        return await self.raw("\r\n".join([f"GET {path} HTTP/1.1", "Host: shop", *headers, "", ""]))


@contextlib.asynccontextmanager
async def serving(*workers: WebWorker) -> AsyncIterator[None]:
    """Run the web servers of workers that know each other."""
    for worker in workers:
        worker.knows(*(each.url for each in workers))
        worker.app.web.init_server()
        await worker.app.web.start_server()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for worker in workers:
            await worker.app.web.stop_server()  # type: ignore[attr-defined]
            await worker.app._maybe_close_http_client()


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[WebWorker, WebWorker]]:
    """A worker that owns no key, and the worker that owns them all."""
    front, owner = WebWorker("front", tmp_path), WebWorker("owner", tmp_path)
    front.owner = owner.url
    async with serving(front, owner):
        yield front, owner
