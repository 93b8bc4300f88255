"""Routing of web requests to the worker that owns a key, with an error response if that worker is unavailable."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
from faust.app.router import Router
from faust.web.base import Request, Response, Web
from yarl import URL

ROUTE_TIMEOUT_S: Final = 5.0
"""Time limit for a routed request. A request reads only one key, so a slower worker has probably failed."""


class BoundedRouter(Router):
    """Faust's router with a time limit, because Faust's own router waits indefinitely for a frozen worker."""

    async def _route_req(self, dest_url: URL, web: Web, request: Request) -> Response:
        try:
            async with asyncio.timeout(ROUTE_TIMEOUT_S):
                return await super()._route_req(dest_url, web, request)
        except (TimeoutError, aiohttp.ClientError, OSError):
            answer: dict[str, Any] = {
                "error": "the worker that owns the key does not respond; "
                "another worker takes over the key within the session timeout",
                "owner": f"{dest_url.host}:{dest_url.port}",
            }
            return web.json(answer, status=503)
