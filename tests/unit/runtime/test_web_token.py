"""Goal: with a token, nobody without it sees a page, whichever worker answers; a supervisor still sees the health."""

from __future__ import annotations

import asyncio
import base64
import logging
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from faust.web import Request, Response, View

from streams.runtime.faust import web_server
from tests.unit.runtime.web_workers import WebWorker, serving

TOKEN = "hunter2-canary"  # noqa: S105 - of the test


def login(name: str, password: str) -> str:
    """A login as a browser sends it."""
    return base64.b64encode(f"{name}:{password}".encode()).decode()


async def status(worker: WebWorker, path: str, authorization: str | None) -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with aiohttp.ClientSession() as client, client.get(worker.url + path, headers=headers) as response:
        assert TOKEN not in await response.text()
        return response.status


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"BEARER {TOKEN}", 200),
        (f"Bearer {TOKEN.upper()}", 401),
        (None, 401),
        ("", 401),
        ("Bearer ", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Basic {TOKEN}", 401),
        (f"Basic {login('anybody', TOKEN)}", 200),
        (f"basic {login('', TOKEN)}", 200),
        (f"Basic {login(TOKEN, '')}", 401),
        (f"Basic {login('anybody', TOKEN + 'x')}", 401),
        (f"Basic {login('anybody', TOKEN)}=", 401),
        (f"Basic {base64.b64encode(TOKEN.encode()).decode()}", 401),
        ("Basic", 401),
        ("Bearer h\u00e4nter2", 401),
    ],
)
async def test_a_page_is_shown_to_those_with_the_token(
    tmp_path: Path, authorization: str | None, expected: int
) -> None:
    worker = WebWorker("worker", tmp_path, token=TOKEN)
    async with serving(worker):
        assert await status(worker, "/orders/1/", authorization) == expected
        assert await status(worker, "/nothing/", authorization) == (404 if expected == 200 else 401)
    assert len(worker.requests) == (expected == 200)


async def test_the_health_needs_no_token(tmp_path: Path) -> None:
    worker = WebWorker("worker", tmp_path, token=TOKEN)

    @worker.app.page("/health")
    async def health(view: View, request: Request) -> Response:
        return view.json({"ready": True})

    async with serving(worker):
        assert await status(worker, "/health", None) == 200
        assert await status(worker, "/healthy", None) == 401
        assert await status(worker, "/health/../orders/1/", None) == 401


async def test_a_request_is_routed_with_the_workers_token(tmp_path: Path) -> None:
    asked, owner = WebWorker("asked", tmp_path / "a", token=TOKEN), WebWorker("owner", tmp_path / "b", token=TOKEN)
    asked.owner = owner.url
    asked.knows(asked.url, owner.url)
    async with serving(asked, owner):
        assert await status(asked, "/orders/1/", f"Bearer {TOKEN}") == 200
    assert len(owner.requests) == 1


async def test_without_a_token_nothing_is_asked_for(tmp_path: Path) -> None:
    worker = WebWorker("worker", tmp_path)
    async with serving(worker):
        assert await status(worker, "/orders/1/", None) == 200


async def raw(worker: WebWorker, request: bytes) -> bytes:
    """Send bytes, and return the line with the status of the answer."""
    parts = urlsplit(worker.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.readline(), 5.0)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "line",
    [
        "HEAD /orders/1/", "OPTIONS /orders/1/", "POST /orders/1/", "GET //health/orders/1/", "GET //health",
        "GET /health/..%2forders/1/", "GET /health;/../orders/1/", "GET /./orders/1/", "GET /orders/1/?/health",
        "GET /orders/1/#/health", "GET http://other/orders/1/", "GET /Health", "GET /health%00",
        "GET /orders/../health",
    ],
)  # fmt: skip
async def test_no_way_to_write_a_request_goes_round_the_token(tmp_path: Path, line: str) -> None:
    worker = WebWorker("worker", tmp_path, token=TOKEN)
    async with serving(worker):
        answer = await raw(worker, f"{line} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n".encode())
    assert answer.split()[1] == b"401"
    assert not worker.requests


async def test_malformed_requests_leave_one_line_in_the_log_and_no_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    [limit] = web_server.requests_log.filters
    monkeypatch.setattr(limit, "_logged_at", float("-inf"))
    worker = WebWorker("worker", tmp_path, token=TOKEN)
    with caplog.at_level(logging.DEBUG):
        async with serving(worker):
            for end in (b"\x01", b"\x00", b"\n x", b"a" * 9_000):
                request = b"GET /orders/1/ HTTP/1.1\r\nHost: w\r\nAuthorization: Bearer " + TOKEN.encode() + end
                assert (await raw(worker, request + b"\r\n\r\n")).split()[1] == b"400"
    assert TOKEN not in caplog.text
    assert caplog.text.count("not valid HTTP") == 1
