"""Goal: a slow or greedy client costs a worker's web server a bounded number of connections for a bounded time.

Method: a worker's real web server in this process, with small limits; clients on plain sockets that never finish.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from streams.runtime.faust import web_server
from tests.support.async_waiting import LIVENESS_S
from tests.unit.runtime.web_workers import WebWorker, serving

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def clients(tmp_path: Path) -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def connected(worker: WebWorker, clients: AsyncExitStack, text: str = "") -> Client:
    """A client that has sent `text`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    clients.callback(writer.close)
    writer.write(text.encode())
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("sent", ["", "GET /orders/1/ HTTP/1.1\r\nHost: shop\r\nX-Slow: "], ids=["nothing", "a part"])
async def test_a_client_that_does_not_finish_its_header_is_cut_off(
    tmp_path: Path, clients: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, sent: str
) -> None:
    monkeypatch.setattr(web_server, "REQUEST_TIMEOUT_S", 0.2)
    worker = WebWorker("worker", tmp_path)
    async with serving(worker):
        reader, _ = await connected(worker, clients, sent)
        assert await asyncio.wait_for(reader.read(), LIVENESS_S) == b""


async def test_a_client_that_is_slow_with_its_second_header_is_cut_off_too(
    tmp_path: Path, clients: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_server, "REQUEST_TIMEOUT_S", 0.2)
    worker = WebWorker("worker", tmp_path)
    async with serving(worker):
        reader, _ = await connected(worker, clients, "GET /orders/1/ HTTP/1.1\r\nHost: shop\r\n\r\nGET /ord")
        response = await asyncio.wait_for(reader.read(), LIVENESS_S)
    assert response.startswith(b"HTTP/1.1 200")
    assert response.count(b"HTTP/1.1") == 1


async def test_a_client_whose_body_does_not_come_is_answered_and_cut_off(
    tmp_path: Path, clients: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_server, "LINGER_S", 0.1)
    worker = WebWorker("worker", tmp_path)
    async with serving(worker):
        reader, _ = await connected(worker, clients, "GET /orders/1/ HTTP/1.1\r\nHost: s\r\nContent-Length: 9\r\n\r\n")
        response = await asyncio.wait_for(reader.read(), LIVENESS_S)
    assert response.startswith(b"HTTP/1.1 413")
    assert worker.requests == []


async def test_more_connections_than_the_limit_are_refused_until_one_ends(
    tmp_path: Path,
    clients: AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(web_server, "MOST_CONNECTIONS", 3)
    caplog.set_level(logging.WARNING)
    worker = WebWorker("worker", tmp_path)
    async with serving(worker):
        first, *_ = [await connected(worker, clients) for _ in range(3)]
        for _ in range(2):
            reader, _writer = await connected(worker, clients)
            assert await asyncio.wait_for(reader.read(), LIVENESS_S) == b""
        assert [record.levelname for record in caplog.records if "refuses connections" in record.message] == ["WARNING"]
        first[1].close()
        while True:
            try:
                assert b"200 OK" in await worker.get("/orders/1/")
                break
            except (asyncio.IncompleteReadError, ConnectionError):
                await asyncio.sleep(0.01)  # the server has not noticed the end yet
