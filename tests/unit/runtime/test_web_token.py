"""Goal: with a token, nobody without it sees a page, whichever worker answers; a supervisor still sees the health."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from faust.web import Request, Response, View

from tests.unit.runtime.web_workers import WebWorker, serving

TOKEN = "hunter2-canary"  # noqa: S105 - of the test


async def status(worker: WebWorker, path: str, authorization: str | None) -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with aiohttp.ClientSession() as client, client.get(worker.url + path, headers=headers) as response:
        assert TOKEN not in await response.text()
        return response.status


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (f"Bearer {TOKEN}", 200),
        (None, 401),
        ("", 401),
        ("Bearer ", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Basic {TOKEN}", 401),
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
