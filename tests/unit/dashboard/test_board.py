"""Goal: a worker that does not answer holds up neither the page nor the others, and many viewers cost as much as one.

Method: workers that answer as the test says; the pages of real web servers.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from streams.runtime.web.dashboard import board as boards
from streams.runtime.web.dashboard import pages
from streams.runtime.web.dashboard.board import Board
from streams.runtime.web.pages import declare_pages
from tests.unit.dashboard.snapshots import snapshot
from tests.unit.runtime.web_workers import WebWorker, serving

TOKEN = "hunter2"  # noqa: S105 - of no real worker
OWN, OTHER, THIRD = (URL(f"http://127.0.0.1:{port}/") for port in (1, 2, 3))


class Others:
    """Members of the group; each answers as it is told."""

    def __init__(self, **answers: Callable[[], Awaitable[bytes]]) -> None:
        self.members: Sequence[URL] = [OWN, OTHER]
        self.answer: Callable[[], Awaitable[bytes]] = self.well
        self.asked = 0

    def addresses(self) -> Sequence[URL]:
        return self.members

    async def ask(self, address: URL) -> bytes:
        self.asked += 1
        return await self.answer()

    async def well(self) -> bytes:
        return msgspec.json.encode(snapshot())

    async def never(self) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def refused(self) -> bytes:
        raise ConnectionRefusedError("refused")

    async def nonsense(self) -> bytes:
        return b"[1"

    async def foreign(self) -> bytes:
        return b'{"status": "OK"}'


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Others:
    monkeypatch.setattr(boards, "ANSWER_S", 0.05)
    monkeypatch.setattr(boards, "FRESH_S", 0.0)
    return Others()


def board_of(others: Others) -> Board:
    async def own() -> dict[str, Any]:
        return snapshot()

    return Board(others, own, OWN)


async def test_each_worker_is_shown_once_this_one_first(others: Others) -> None:
    others.members = [THIRD, OWN, OTHER]
    assert [seen.name for seen in await board_of(others).look()] == ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]


@pytest.mark.parametrize("way", ["never", "refused", "nonsense", "foreign"])
async def test_a_worker_that_does_not_answer_well_is_shown_with_its_last_answer(others: Others, way: str) -> None:
    board = board_of(others)
    answered_at = (await board.look())[1].answered_at
    others.answer = getattr(others, way)
    _, other = await board.look()
    assert (other.snapshot, other.answered_at) == (None, answered_at)
    assert other.is_member
    assert other.fault
    others.answer = others.well
    assert (await board.look())[1].snapshot is not None


async def test_a_worker_that_leaves_the_group_is_still_shown_for_a_while(
    others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = board_of(others)
    await board.look()
    others.members = [OWN]
    assert [(seen.name, seen.is_member) for seen in await board.look()] == [
        ("127.0.0.1:1", True),
        ("127.0.0.1:2", False),
    ]
    others.members = [OWN, OTHER]
    assert [seen.is_member for seen in await board.look()] == [True, True], "it is back"
    others.members = [OWN]
    monkeypatch.setattr(boards, "REMEMBERED_S", 0.0)
    assert [seen.name for seen in await board.look()] == ["127.0.0.1:1"]


async def test_many_viewers_cost_as_much_as_one(others: Others, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "FRESH_S", 60.0)
    board = board_of(others)
    await asyncio.gather(*[board.look() for _ in range(20)])
    assert others.asked == 1


# -- over HTTP --------------------------------------------------------------------------------------------------------


async def test_the_page_of_one_worker_shows_the_other(tmp_path: Path) -> None:
    one, other = WebWorker("one", tmp_path / "1", token=TOKEN), WebWorker("other", tmp_path / "2", token=TOKEN)
    for worker in (one, other):
        declare_pages(worker.app, counted={})
    login = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
    headers = {"Authorization": f"Basic {login}"}
    async with serving(one, other), aiohttp.ClientSession() as client:
        one.knows(one.url, other.url)
        async with client.get(f"{one.url}/", headers=headers) as response:
            assert response.status == 200
            text = await response.text()
        assert f"127.0.0.1:{other.port} (other)</th><td>not ready" in text
        async with client.get(f"{one.url}/") as response:
            assert response.status == 401
            assert response.headers.getall("WWW-Authenticate") == ["Bearer", 'Basic realm="Millrace"']


async def test_workers_of_other_applications_are_asked_where_the_settings_name_them(tmp_path: Path) -> None:
    other = WebWorker("archive", tmp_path / "2")
    one = WebWorker("one", tmp_path / "1", peers=[other.url, "http://127.0.0.1:1"])
    for worker in (one, other):
        declare_pages(worker.app, counted={})
    async with serving(one), serving(other), aiohttp.ClientSession() as client:
        async with client.get(f"{one.url}/") as response:
            text = await response.text()
        assert f"127.0.0.1:{other.port} (archive)</th>" in text
        assert "no connection (connection refused); has never answered" in text, "the other peer is away"


async def test_a_worker_of_a_version_without_the_page_is_named_as_such(tmp_path: Path) -> None:
    one, old = WebWorker("one", tmp_path / "1"), WebWorker("old", tmp_path / "2")
    declare_pages(one.app, counted={})
    async with serving(one, old), aiohttp.ClientSession() as client:
        one.knows(one.url, old.url)
        async with client.get(f"{one.url}/") as response:
            assert "it is of another version, or no worker (status 404" in await response.text()


async def test_a_viewer_that_takes_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_VIEWERS", 1)
    monkeypatch.setattr(pages, "EVENT_S", 0.0)
    monkeypatch.setattr(pages, "STALLED_S", 1.0)
    worker = WebWorker("worker", tmp_path)
    declare_pages(worker.app, counted={}, published=lambda: 0)

    numbers = itertools.count()

    async def large(self: pages.Dashboard) -> dict[str, Any]:
        return {"verdict": f"{next(numbers)}{'x' * 1_000_000}"}  # always new, so that every buffer is full at last

    monkeypatch.setattr(pages.Dashboard, "sections", large)
    async with serving(worker), aiohttp.ClientSession() as client:
        _, writer = await asyncio.open_connection("127.0.0.1", worker.port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: shop\r\n\r\n")
        await writer.drain()
        await first_answer(client, worker, 503)
        await first_answer(client, worker, 200)
        writer.close()


async def first_answer(client: aiohttp.ClientSession, worker: WebWorker, status: int) -> None:
    """Wait until the events are answered with this status."""
    async with asyncio.timeout(20):
        while True:
            async with client.get(f"{worker.url}/events") as response:
                if response.status == status:
                    return
            await asyncio.sleep(0.02)


async def test_asking_only_for_the_head_of_the_events_takes_up_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_VIEWERS", 1)
    worker = WebWorker("worker", tmp_path)
    declare_pages(worker.app, counted={})
    async with serving(worker), aiohttp.ClientSession() as client:
        for _ in range(2):
            async with client.head(f"{worker.url}/events") as response:
                assert (response.status, response.content_type) == (200, "text/event-stream")


async def test_the_viewers_of_a_worker_are_limited_and_leave_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_VIEWERS", 2)
    monkeypatch.setattr(pages, "EVENT_S", 0.02)
    worker = WebWorker("worker", tmp_path)
    declare_pages(worker.app, counted={})
    async with serving(worker), aiohttp.ClientSession() as client:
        async with contextlib.AsyncExitStack() as viewers:
            for _ in range(2):
                response = await viewers.enter_async_context(client.get(f"{worker.url}/events"))
                assert response.content_type == "text/event-stream"
                event = await response.content.readuntil(b"\n\n")
                assert msgspec.json.decode(event.removeprefix(b"data: ")).keys() >= {"verdict", "workers"}
            async with client.get(f"{worker.url}/events") as third:
                assert third.status == 503
        await first_answer(client, worker, 200)
