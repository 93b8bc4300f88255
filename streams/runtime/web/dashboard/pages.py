"""The page `/`, its events, and the snapshot of a worker that the page of another worker asks for."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from aiohttp import ClientConnectorError, ClientError, web
from faust.web import Request, Response, View
from yarl import URL

from streams.runtime.faust.app import TransactionalApp
from streams.runtime.faust.router import BoundedRouter
from streams.runtime.web.dashboard.board import Board, Seen
from streams.runtime.web.dashboard.html import SECURITY_HEADERS, Markup, document, element
from streams.runtime.web.dashboard.sections import PartSection, sections
from streams.runtime.web.rules import Rule

MOST_VIEWERS: Final = 20
EVENT_S: Final = 1.0
STALLED_S: Final = 10.0
ASSETS: Final = {"page.css": "text/css", "page.js": "text/javascript"}

PARTS: Final = ("waiting", "sales", "connector", "lake")
"""Places on the page for what only one application has."""

_FOLDER: Final = Path(__file__).parent / "assets"
_ORDER: Final = ("verdict", "faults", "figures", "charts", *PARTS, "letters", "alerts", "workers", "partitions")


class GroupWorkers:
    """The workers of the application's consumer group, and those of the setting WEB_PEERS, asked over HTTP."""

    def __init__(self, app: TransactionalApp) -> None:
        self._router = cast(BoundedRouter, app.router)
        self._peers = [URL(address) for address in app.web_peers]

    def addresses(self) -> Sequence[URL]:
        """Return the addresses that the members of the group advertise, and those of the peers."""
        return [*self._router.members(), *self._peers]

    async def ask(self, address: URL) -> bytes:
        """Return a worker's snapshot."""
        try:
            return await self._router.get(address, "/snapshot")
        except ClientConnectorError as error:
            # Its own text repeats the address, which is the worker's name already.
            why = os.strerror(error.errno) if error.errno else str(error.os_error)
            raise OSError(f"no connection ({why.lower()})") from error
        except ClientError as error:
            raise OSError(str(error)) from error


class Dashboard:
    """The page of one worker and its viewers.

    Args:
        own: returns this worker's snapshot.
    """

    def __init__(
        self,
        app: TransactionalApp,
        own: Callable[[], Awaitable[dict[str, Any]]],
        rules: Sequence[Rule],
        parts: Mapping[str, PartSection],
    ) -> None:
        self._app = app
        self._parts = parts
        self._rules = rules
        self._board: Board | None = None
        self._own = own
        self._viewers = 0
        self._shown: Sequence[Seen] = ()
        self._sections: dict[str, Markup] = {}

    async def sections(self) -> dict[str, Markup]:
        """Return the sections of the page as of now."""
        if self._board is None:  # the router exists only once the application is configured
            self._board = Board(GroupWorkers(self._app), self._own, URL(str(self._app.conf.canonical_url)))
        workers = await self._board.look()
        if workers is not self._shown:  # the board returns the same list to all who look within a moment
            self._sections = await self._app.pages.build(lambda: sections(workers, self._rules, self._parts))
            self._shown = workers
        return self._sections

    async def page(self) -> str:
        """Return the whole page."""
        found = await self.sections()
        parts = [element("section", found.get(name, ""), id=name) for name in _ORDER]
        name = str(self._app.conf.id)
        return document(f"{name} – Millrace", _header(name), element("main", *parts), live=True)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send what has changed every second until the viewer leaves; a slow viewer gets less, but always the newest.

        The first event has the whole page; one without news is empty, and says that the worker is alive. A viewer that
        takes nothing for `STALLED_S` seconds is let go, so that it takes up no place.
        """
        if request.method != "GET":  # nothing would be written, so nothing would show that the viewer has left
            return web.Response(headers={"Content-Type": "text/event-stream"})
        if self._viewers >= MOST_VIEWERS:
            return web.json_response({"error": f"{MOST_VIEWERS} people look at this worker, the limit"}, status=503)
        self._viewers += 1
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **SECURITY_HEADERS})
            await response.prepare(request)
            with contextlib.suppress(ConnectionError, TimeoutError):  # the viewer has left, or sleeps
                sent: dict[str, Markup] = {}
                while not self._app.should_stop:
                    found = await self.sections()
                    news = {name: str(html) for name, html in found.items() if sent.get(name) != html}
                    event, sent = msgspec.json.encode(news), found
                    async with asyncio.timeout(STALLED_S):
                        await response.write(b"data: " + event + b"\n\n")
                    await asyncio.sleep(EVENT_S)
            return response
        finally:
            self._viewers -= 1


def declare_dashboard(
    app: TransactionalApp,
    own: Callable[[], Awaitable[dict[str, Any]]],
    rules: Sequence[Rule],
    parts: Mapping[str, PartSection],
) -> None:
    """Add the pages `/`, `/events`, `/snapshot` and `/assets/…` to the application."""
    dashboard = Dashboard(app, own, rules, parts)

    @app.page("/", name="dashboard")
    async def page(view: View, request: Request) -> Response:
        return view.html(await dashboard.page(), headers=dict(SECURITY_HEADERS))

    @app.page("/events", name="events")
    async def events(view: View, request: Request) -> Response:
        return cast(Response, await dashboard.stream(cast(web.Request, request)))

    @app.page("/snapshot", name="snapshot")
    async def snapshot(view: View, request: Request) -> Response:
        return view.json(await own())

    @app.page("/assets/{name}", name="assets")
    async def asset(view: View, request: Request, name: str) -> Response:
        if name not in ASSETS:
            return view.json({"error": "there is no such file"}, status=404)
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
        return view.bytes((_FOLDER / name).read_bytes(), content_type=ASSETS[name], headers=headers)


def _header(name: str) -> Markup:
    label = element("label", "Order ", Markup('<input name="order_id" required maxlength="200" autocomplete="off">'))
    form = element("form", label, element("button", "Show its life"), id="find", action="/", method="get")
    stale = Markup('<p id="stale" role="alert" hidden>No news from this worker: what you see may be old.</p>')
    return element("header", element("h1", f"Millrace: {name}"), form, stale)
