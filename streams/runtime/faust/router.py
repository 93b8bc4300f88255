"""Routes a web request to the worker that owns a key, and reports a worker that does not answer."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
from faust.app.router import Router
from faust.web.base import Request, Response, Web
from yarl import URL

ROUTE_TIMEOUT_S: Final = 5.0
"""A view reads one key; a worker that takes longer has died, and its group has not noticed yet."""


class BoundedRouter(Router):
    """Faust's router with a time limit and an error response; Faust's own waits for ever for a frozen worker."""

    async def _route_req(self, dest_url: URL, web: Web, request: Request) -> Response:
        try:
            async with asyncio.timeout(ROUTE_TIMEOUT_S):
                return await super()._route_req(dest_url, web, request)
        except (TimeoutError, aiohttp.ClientError, OSError):
            answer: dict[str, Any] = {
                "error": "the worker that owns the key does not answer; another takes over within the session timeout",
                "owner": f"{dest_url.host}:{dest_url.port}",
            }
            return web.json(answer, status=503)
