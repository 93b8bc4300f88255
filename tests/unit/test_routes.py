"""Goal: a page that is added, by the project or by a new version of Faust, is decided on here and not found by a user.

Method: the routes of each application's web server, as aiohttp has them once it would start.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import pytest

COMMON: Final = {"/", "/assets/{name}", "/events", "/health", "/history", "/metrics", "/snapshot", "/stats/"}

ROUTES: Final = {
    "streams.orders": COMMON | {"/orders/incomplete", "/orders/{order_id}/"},
    "streams.lookups": COMMON,
    "streams.archive": COMMON,
    "streams.warehouse": COMMON,
    "streams.metrics": COMMON,
}
"""Every page of each application. All of them are open to anybody who reaches the port: add none that writes, none that
lists keys or values of a table. `/` names the other workers of the application, and the oldest incomplete orders."""


@pytest.mark.parametrize("name", ROUTES)
def test_an_application_serves_the_pages_that_are_listed_here_and_only_reads(name: str) -> None:
    app: Any = importlib.import_module(name).app
    app.web.init_server()
    routes = {(route.method, route.resource.canonical) for route in app.web.web_app.router.routes()}
    assert routes == {(method, path) for path in ROUTES[name] for method in ("GET", "HEAD")}
