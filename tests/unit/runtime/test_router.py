"""Goal: a request for a key whose worker does not answer ends in time, with a word on it.

Method: the router on a real application; the owning worker is played by a port that nobody listens on, and by a server
that never answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from yarl import URL

from stack.ports import free_ports
from streams import orders as application
from streams.runtime.faust import router as router_module
from streams.runtime.faust.router import BoundedRouter

REQUEST = SimpleNamespace(method="GET", headers={}, url=URL("http://127.0.0.1:1/orders/1/"))


class FakeWeb:
    """Answers as tuples."""

    def json(self, value: Any, *, status: int) -> tuple[Any, int]:
        return value, status


@pytest.fixture
async def router(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BoundedRouter]:
    monkeypatch.setattr(router_module, "ROUTE_TIMEOUT_S", 0.2)
    async with aiohttp.ClientSession() as session:
        monkeypatch.setattr(type(application.app), "http_client", session)
        yield BoundedRouter(application.app)


async def ask(router: BoundedRouter, port: int) -> tuple[Any, int]:
    answer: Any = await router._route_req(URL(f"http://127.0.0.1:{port}"), FakeWeb(), REQUEST)  # type: ignore[arg-type]
    body, status = answer
    return body, status


async def test_a_worker_that_died_is_named(router: BoundedRouter) -> None:
    [port] = free_ports(["nobody"]).values()
    body, status = await ask(router, port)
    assert status == 503
    assert body["owner"] == f"127.0.0.1:{port}"


async def test_a_worker_that_is_frozen_is_not_waited_for(router: BoundedRouter) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        _, status = await ask(router, server.sockets[0].getsockname()[1])
    assert status == 503
