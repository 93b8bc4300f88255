"""Routing of web requests to the worker that owns a key, with an error response if that worker is unavailable.

The router replaces Faust's forwarding, which passes on all headers of a request but not its body: the owner then takes
the next request on that connection, of another user, for the body.
"""

from __future__ import annotations

from typing import Any, Final, cast

import aiohttp
from faust.app.router import Router
from faust.exceptions import SameNode
from faust.web.base import Request, Response, Web
from yarl import URL

from streams.runtime.faust.worker import WorkerApp

ROUTE_TIMEOUT_S: Final = 5.0
"""Time limit for a routed request. A request reads only one key, so a slower worker has probably failed."""

MOST_BYTES: Final = 16 * 1024 * 1024
"""Maximum size of a routed response; the state of an order is far smaller."""

MOST_ROUTED: Final = 32
"""Maximum number of requests that are routed at the same time; others wait."""

HTTP_OK: Final = 200

METHODS: Final = frozenset({"GET", "HEAD"})

PASSED_HEADERS: Final = ("Accept", "X-Request-Id")
"""Headers that reach the owner. Others could carry the client's logins, or describe a body or another connection."""

ROUTED: Final = "X-Millrace-Routed"
"""Header of a routed request, which is never routed again: workers may disagree for a moment about who owns a key."""


def client_session() -> aiohttp.ClientSession:
    """Create the HTTP client of a worker; it uses each connection once, and keeps no cookies."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=MOST_ROUTED),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=ROUTE_TIMEOUT_S),
    )


class UnusableResponseError(Exception):
    """The owner's response is none that a worker gives."""


class BoundedRouter(Router):
    """Faust's router with a forwarding of its own, which passes on only what a page needs, within a time limit."""

    async def _route_req(self, dest_url: URL, web: Web, request: Request) -> Response:
        owner = self._urlident(dest_url)
        if owner == self._urlident(self.app.conf.canonical_url):
            raise SameNode
        if request.method not in METHODS:
            return _error(web, "only GET and HEAD are routed to another worker", owner, status=405)
        if ROUTED in request.headers:
            return _error(web, "workers disagree about the owner of the key; try again", owner, status=503)
        if not self._is_member(dest_url):
            return _error(web, "the owner's address is not one of this consumer group", owner, status=503)
        try:
            status, body = await self._ask(owner, request)
        except UnusableResponseError as error:
            return _error(web, f"the worker that owns the key gave no usable response: {error}", owner, status=502)
        except (TimeoutError, aiohttp.ClientError, OSError):
            lost = (
                "the worker that owns the key does not respond; "
                "another worker takes over the key within the session timeout"
            )
            return _error(web, lost, owner, status=503)
        return web.bytes(body, content_type="application/json", status=status)

    def members(self) -> list[URL]:
        """Return the addresses of web servers that the members of the consumer group advertise."""
        return [url for url in self._advertised() if _is_plain(url)]

    def _advertised(self) -> set[URL]:
        return {URL(member) for member in (*self.tables_metadata(), *self.external_topics_metadata())}

    def _is_member(self, url: URL) -> bool:
        """Return whether a member of the consumer group advertises this URL, and it is that of a web server."""
        return _is_plain(url) and url in self._advertised()

    async def get(self, member: URL, path: str) -> bytes:
        """Return the JSON that a member of the consumer group has at `path`.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: it does not answer, or not as a worker does.
        """
        try:
            status, body = await self._request("GET", member.with_path(path), {})
        except UnusableResponseError as error:
            raise OSError(f"it is of another version, or no worker ({error})") from error
        if status != HTTP_OK:
            raise OSError(f"status {status}")
        return body

    async def _ask(self, owner: tuple[str, int], request: Request) -> tuple[int, bytes]:
        """Return the status and the body of the owner's response."""
        host, port = owner
        path, query = request.url.raw_path, request.url.raw_query_string
        url = URL.build(scheme="http", host=host, port=port, path=path, query_string=query, encoded=True)
        headers = {name: request.headers[name] for name in PASSED_HEADERS if name in request.headers}
        return await self._request(request.method, url, headers)

    async def _request(self, method: str, url: URL, headers: dict[str, str]) -> tuple[int, bytes]:
        token = cast(WorkerApp, self.app).web_token
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"  # the worker's own: the client's has been checked
        async with self.app.http_client.request(
            method, url, headers={**headers, ROUTED: "1"}, allow_redirects=False
        ) as response:
            if response.content_type != "application/json":
                raise UnusableResponseError(f"status {response.status}, content type {response.content_type}")
            body = await _read(response)
            return response.status, body


def _is_plain(url: URL) -> bool:
    return url.scheme == "http" and url.user is None and url.raw_path == "/" and not url.query_string and bool(url.host)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read a response that may not be larger than `MOST_BYTES`."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MOST_BYTES:
            raise UnusableResponseError(f"more than {MOST_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _error(web: Web, error: str, owner: tuple[str, int], *, status: int) -> Response:
    host, port = owner
    answer: dict[str, Any] = {"error": error, "owner": f"{host}:{port}"}
    return web.json(answer, status=status)
