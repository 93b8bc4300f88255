"""Goal: a request for another worker's key reaches it, carries nothing that it does not need, and ends in time.

Method: web servers of two workers in this process, asked through plain sockets; the owner is also played by a port that
nobody listens on, and by servers that say nothing or the wrong thing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import pytest

from stack.ports import free_ports
from streams.runtime.faust import router as router_module
from tests.unit.runtime.web_workers import WebWorker, pair

__all__ = ["pair"]

Pair = tuple[WebWorker, WebWorker]

BODIES: Final = {
    "length": "Content-Length: 40\r\n\r\n" + "A" * 40,
    "length-without-the-body": "Content-Length: 40\r\n\r\n",
    "smuggled": "Content-Length: 42\r\n\r\nGET /orders/smuggled/ HTTP/1.1\r\nX-Rest: ab",
    "chunked": "Transfer-Encoding: chunked\r\n\r\n5\r\nAAAAA\r\n0\r\n\r\n",
    "expected": "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
}


def status_of(response: bytes) -> int:
    return int(response.split()[1])


async def test_any_worker_answers_for_any_key(pair: Pair) -> None:
    front, owner = pair
    response = await front.get("/orders/a%2Fb%20c/?limit=3")
    assert status_of(response) == 200
    assert msgspec.json.decode(response.partition(b"\r\n\r\n")[2]) == {"order_id": "a/b c", "from": "owner"}
    assert owner.requests[0].rel_url.raw_path_qs == "/orders/a%2Fb%20c/?limit=3"


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_a_request_with_a_body_is_refused_and_spoils_no_later_one(pair: Pair, body: str) -> None:
    front, owner = pair
    await front.get("/orders/before/")
    refused = await front.raw(f"GET /orders/evil/ HTTP/1.1\r\nHost: shop\r\n{body}")
    assert status_of(refused) == 413
    for number in range(3):
        response = await front.get(f"/orders/innocent{number}/")
        assert status_of(response) == 200
        assert f"innocent{number}".encode() in response
    assert [request.match_info["order_id"] for request in owner.requests] == [
        "before", "innocent0", "innocent1", "innocent2",
    ]  # fmt: skip


async def test_a_request_with_two_lengths_is_refused(pair: Pair) -> None:
    front, owner = pair
    body = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert status_of(await front.raw(f"GET /orders/evil/ HTTP/1.1\r\nHost: shop\r\n{body}")) in {400, 413}
    assert owner.requests == []


async def test_the_owner_is_told_only_what_a_page_needs(pair: Pair) -> None:
    front, owner = pair
    sent = ["Authorization: Bearer secret", "Cookie: session=1", "X-Forwarded-For: 1.2.3.4", "Upgrade: websocket"]
    response = await front.get("/orders/1/", "Accept: application/json", "X-Request-Id: 17", *sent)
    assert status_of(response) == 200
    told = {name.lower(): value for name, value in owner.requests[0].headers.items()}
    assert (told.pop("accept"), told.pop("x-request-id")) == ("application/json", "17")
    assert told.pop("host") == f"127.0.0.1:{owner.port}"
    assert set(told) <= {"user-agent", "accept-encoding", "connection", router_module.ROUTED.lower()}


async def test_a_head_is_routed_as_such(pair: Pair) -> None:
    front, owner = pair
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(b"HEAD /orders/1/ HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
    response = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    assert status_of(response) == 200
    assert response.endswith(b"\r\n\r\n")
    assert owner.requests[0].method == "HEAD"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_refused(pair: Pair, method: str) -> None:
    front, owner = pair
    assert status_of(await front.raw(f"{method} /orders/1/ HTTP/1.1\r\nHost: shop\r\n\r\n")) == 405
    assert owner.requests == []


async def test_workers_that_take_each_other_for_the_owner_do_not_route_in_a_circle(pair: Pair) -> None:
    front, owner = pair
    owner.owner = front.url
    response = await front.get("/orders/1/")
    assert status_of(response) == 503
    assert b"workers disagree about the owner" in response
    assert (len(front.requests), len(owner.requests)) == (1, 1)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254:80",
        "http://login:word@127.0.0.1:{port}",
        "http://127.0.0.1:{port}/admin",
        "https://127.0.0.1:{port}",
    ],
)
async def test_an_address_that_no_member_advertises_is_never_asked(pair: Pair, url: str) -> None:
    front, owner = pair
    front.owner = url.format(port=owner.port)
    if "169" not in url:
        front.knows(front.url, front.owner)
    response = await front.get("/orders/1/")
    assert status_of(response) == 503
    assert b"not one of this consumer group" in response
    assert owner.requests == []


# -- an owner that is not well ----------------------------------------------------------------------------------------

Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def asked_of(front: WebWorker, serve: Connection) -> bytes:
    """What the front answers while the owner is played by `serve`."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        front.owner = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        front.knows(front.url, front.owner)
        return await front.get("/orders/1/")


def saying(text: str) -> Connection:
    """An owner that answers a request with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text.encode())
        writer.close()

    return serve


async def test_a_worker_that_died_is_named(pair: Pair) -> None:
    front, _ = pair
    [port] = free_ports(["nobody"]).values()
    front.owner = f"http://127.0.0.1:{port}"
    front.knows(front.owner)
    response = await front.get("/orders/1/")
    assert status_of(response) == 503
    assert f"127.0.0.1:{port}".encode() in response


async def test_a_worker_that_is_frozen_is_not_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    monkeypatch.setattr(router_module, "ROUTE_TIMEOUT_S", 0.2)
    assert status_of(await asked_of(pair[0], say_nothing)) == 503


@pytest.mark.parametrize(
    "text",
    [
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\n<script>",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n\r\n" + "[" * 2000,
    ],
    ids=["redirection", "page", "large"],
)
async def test_a_response_that_no_worker_gives_is_not_passed_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(router_module, "MOST_BYTES", 1_000)
    response = await asked_of(pair[0], saying(text))
    assert status_of(response) == 502
    assert b"no usable response" in response
