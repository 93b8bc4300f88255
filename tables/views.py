"""Web views on the state: one order, and what this worker is doing. JSON, committed state only."""

from __future__ import annotations

from typing import Any

import msgspec
from faust.web import Request, Response, View

from streams.model.order import OrderState, products_of, status_of
from streams.runtime.app import BatchApp
from streams.runtime.table import NotHere


def order_view(order_id: str, state: OrderState) -> dict[str, Any]:
    """What a person wants to know of an order."""
    row = state.row
    waiting_for = max(0, row.num_products - len(products_of(state))) if row is not None and not row.deleted else None
    return {
        "order_id": order_id,
        "status": status_of(state),
        "emitted": state.emitted,
        "revision": state.revision,
        "products_missing": waiting_for,
        "row": None if row is None else msgspec.to_builtins(_named(row)),
        "products": msgspec.to_builtins(products_of(state)),
    }


def _named(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


def declare(app: BatchApp, *, counts: Any) -> None:
    """Add the views to the application: `/orders/{order_id}/` on the worker that owns the order, and `/stats/`."""

    @app.page("/orders/{order_id}/", name="order")
    @app.table_route(table=app.state_table, match_info="order_id")
    async def order(view: View, request: Request, order_id: str) -> Response:
        try:
            state = app.state_table.get(order_id)
        except NotHere:
            return view.json(_not_ready(app), status=503)
        if state is None:
            return view.json({"error": f"order {order_id} was never seen"}, status=404)
        return view.json(order_view(order_id, state))

    @app.page("/stats/", name="stats")
    async def stats(view: View, request: Request) -> Response:
        ready = app.partition_supervisor.is_ready
        figures = {**app.stats.as_dict(), **dict(counts)}
        return view.json({"app": app.conf.id, "ready": ready, **figures, "partitions": partitions(app)})


def _not_ready(app: BatchApp) -> dict[str, Any]:
    return {"error": "the order's partition is being opened", "partitions": partitions(app)}


def partitions(app: BatchApp) -> dict[str, Any]:
    """State, restoration and position of each partition of this worker."""
    return {
        str(number): {
            "state": partition.state,
            "error": partition.error,
            "next_offsets": partition.opening.next_offsets,
            "restored_records": partition.progress.records,
            "restore_remaining": partition.progress.remaining,
            "restore_s": round(partition.progress.seconds, 3),
        }
        for number, partition in sorted(app.partition_supervisor.partitions.items())
    }
