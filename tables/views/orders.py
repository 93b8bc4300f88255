"""JSON web views of the committed state: a single order, and the list of incomplete orders."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec
from aiohttp import web
from faust.web import Request, Response, View

from streams.model.order import Emission, OrderState, is_forgotten, products_of, status_of
from streams.model.order_life import Standing, standing_of, utc_of
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.faust.router import ROUTED
from streams.runtime.faust.table import NotHere, TransactionalTable
from streams.runtime.web.dashboard.html import SECURITY_HEADERS
from streams.runtime.web.pages import open_partitions, partitions
from tables.order_events import OrderEvents
from tables.views import incomplete
from tables.views.people import order_page

MOST_LISTED: Final = 200

MOVING: Final = 503
"""Status while no worker has the order: its partition is opened by another one, or its worker has just ended."""


def order_view(order_id: str, state: OrderState) -> dict[str, Any]:
    """Return the response of `/orders/{order_id}/` for an order with this state."""
    row = state.row
    waiting_for = max(0, row.num_products - len(products_of(state))) if row is not None and not row.deleted else None
    return {
        "order_id": order_id,
        "status": "forgotten" if is_forgotten(state) else status_of(state),
        "emission": state.emission.name.lower(),
        "emitted": state.emission is Emission.EMITTED,
        "held": standing_of(state) is Standing.HELD,
        "revision": state.revision,
        "products_missing": waiting_for,
        "row": None if row is None else msgspec.to_builtins(_named(row)),
        "products": msgspec.to_builtins(products_of(state)),
        "lines": [
            {"product_id": product, **msgspec.to_builtins(_named(line))}
            for product, line in sorted(state.lines.items())
        ],
        "first_seen_at": _moment(state.first_seen_ms),
        "changed_at": _moment(state.changed_ms),
        "reported": state.reported,
    }


def _moment(at_ms: int) -> str | None:
    return msgspec.to_builtins(utc_of(at_ms)) if at_ms else None


def _named(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


def _for_people(view: View, order_id: str, response: Response) -> Response:
    answer = msgspec.json.decode(cast(bytes, cast(web.Response, response).body))
    page = order_page(order_id, answer, is_moving=response.status == MOVING)
    return view.html(page, status=response.status, headers=dict(SECURITY_HEADERS))


def declare(app: TransactionalApp, orders: TransactionalTable, events: OrderEvents) -> None:
    """Add the views of orders to the application.

    Any worker serves `/orders/{order_id}/`, by asking the worker that owns the order; a browser gets a page for people.
    `/orders/incomplete` covers only the partitions of the worker that receives the request.
    """

    @app.page("/orders/incomplete", name="incomplete")
    async def incomplete_orders(view: View, request: Request) -> Response:
        try:
            limit = min(max(int(request.query.get("limit", 100)), 0), MOST_LISTED)
        except ValueError:
            return view.json({"error": f"limit must be an integer, not {request.query['limit']!r}"}, status=400)
        return await app.pages.build(lambda: view.json(incomplete.listing(orders, open_partitions(app), limit)))

    @app.page("/orders/{order_id}/", name="order")
    async def order(view: View, request: Request, order_id: str) -> Response:
        response: Response = await cast(Any, found)(view, request, order_id=order_id)
        if "text/html" not in request.headers.get("Accept", "") or ROUTED in request.headers:
            return response
        return _for_people(view, order_id, response)

    @app.table_route(table=orders, match_info="order_id")
    async def found(view: View, request: Request, order_id: str) -> Response:
        try:
            state = orders.get(order_id)
        except NotHere:
            return view.json(
                {
                    "error": f"the partition of order {order_id} is not open yet; try again later",
                    "partitions": partitions(app),
                },
                status=503,
            )
        except msgspec.DecodeError as error:
            return view.json({"error": f"the state of order {order_id} cannot be decoded: {error}"}, status=500)
        if state is None:
            return view.json({"error": f"order {order_id} is unknown: no change of it has been processed"}, status=404)
        return view.json({**order_view(order_id, state), "events": events.of(order_id)})
