"""The web server of a worker, with limits that keep one client from holding up the others.

Requests have no body: a body would cost memory before any check, and pages only read. A connection that has not sent a
whole request in time is closed, and the number of connections is limited, because each one holds a file descriptor.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware
from faust.types import AppT
from faust.web.drivers import aiohttp as driver
from multidict import CIMultiDict

from streams.runtime.faust.worker import WorkerApp

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S: Final = 10.0
"""Time within which a connection must send the header of its next request, after which the server closes it."""

LINGER_S: Final = 1.0
"""Time for which the server goes on reading from a client whose request it has refused, so that it gets the answer."""

MOST_CONNECTIONS: Final = 256
"""Maximum number of open connections; a worker is asked by a monitoring system, other workers and a few people."""

WITHOUT_FAUST_PAGES: Final[dict[str, Any]] = {
    "web_router_enabled": False,
    "web_stats_enabled": False,
    "web_graph_enabled": False,
    "web_metrics_enabled": False,
}
"""Settings of an application without the pages of Faust that show its workers, topics and services to anybody."""

HEALTH: Final = "/health"
"""Path of the page that tells a supervisor whether the worker processes its partitions."""

_LOG_INTERVAL_S: Final = 60.0

requests_log = logging.getLogger(f"{__name__}.requests")


class _MalformedRequests(logging.Filter):
    """Makes a line a minute of the traces of malformed requests, which quote a header: possibly that with the token."""

    _logged_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        if time.monotonic() - self._logged_at < _LOG_INTERVAL_S:
            return False
        self._logged_at = time.monotonic()
        record.msg, record.args = (
            "the web server refuses requests that are not valid HTTP (%s)",
            (type(error).__name__,),
        )
        record.exc_info = None
        return True


requests_log.addFilter(_MalformedRequests())

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def refuse_bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a request with a body, and close its connection, because the body may not have arrived yet."""
    if not request.body_exists:
        return await handler(request)
    response = web.json_response({"error": "a request must not have a body"}, status=413)
    response.force_close()
    return response


def require_token(token: str) -> Middleware:
    """Make a middleware that refuses requests without the token, except for `/health`, which says nothing of orders.

    A browser asks for a name and a password: any name will do, and the password is the token.
    """
    expected = f"bearer {token}".encode()
    challenge = CIMultiDict([("WWW-Authenticate", "Bearer"), ("WWW-Authenticate", 'Basic realm="Millrace"')])

    @web.middleware
    async def require(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if request.path.rstrip("/") == HEALTH or hmac.compare_digest(_as_bearer(given), expected):
            return await handler(request)
        answer = {"error": "the header `Authorization: Bearer …` with the worker's WEB_TOKEN is missing or wrong"}
        return web.json_response(answer, status=401, headers=challenge)

    return require


def _as_bearer(authorization: bytes) -> bytes:
    """Return the header in the form `bearer …`, also if a browser has sent the token as a password.

    The scheme is written in any case (RFC 9110, section 11.1), the token as it is.
    """
    scheme, space, login = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return scheme.lower() + space + login
    try:
        return b"bearer " + base64.b64decode(login, validate=True).partition(b":")[2]
    except ValueError:
        return b""


class _Refusal(asyncio.Protocol):
    """A connection that is closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class LimitedSite(web.TCPSite):
    """A TCP listener that refuses connections while `MOST_CONNECTIONS` are open."""

    _logged_at = float("-inf")

    async def start(self) -> None:
        """Begin to listen."""
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None

        def connect() -> asyncio.BaseProtocol:
            if len(server.connections) < MOST_CONNECTIONS:
                return server()
            self._note_refusal()
            return _Refusal()

        self._server = await asyncio.get_running_loop().create_server(
            connect, self._host, self._port, ssl=self._ssl_context, backlog=self._backlog
        )

    def _note_refusal(self) -> None:
        if time.monotonic() - self._logged_at >= _LOG_INTERVAL_S:
            self._logged_at = time.monotonic()
            log.warning("the web server refuses connections: %d are open, the limit", MOST_CONNECTIONS)


class BoundedWeb(driver.Web):
    """Faust's web server with limits on requests and connections."""

    production_blueprints = ()  # Faust's own page `/`

    def __init__(self, app: AppT, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self.web_app.middlewares.append(refuse_bodies)
        token = cast(WorkerApp, app).web_token
        if token is not None:
            self.web_app.middlewares.append(require_token(token))
        self._runner = web.AppRunner(
            self.web_app,
            access_log=None,
            logger=requests_log,
            keepalive_timeout=REQUEST_TIMEOUT_S,  # aiohttp counts it from the connection's beginning
            lingering_time=LINGER_S,
        )

    def _new_transport_tcp(self) -> web.BaseSite:
        conf = self.app.conf
        return LimitedSite(self._runner, conf.web_bind, conf.web_port, ssl_context=conf.web_ssl_context)
