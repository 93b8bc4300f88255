"""Web views on the state: one order, the incomplete ones, what this worker is doing. Committed state only."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, Protocol

import msgspec
from faust.web import Request, Response, View
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.model.order import Emission, OrderState, products_of, status_of
from streams.runtime.app import BatchApp
from streams.runtime.metrics import CONTENT_TYPE, counter, exposition
from streams.runtime.table import BatchTable, NotHere
from tables import incomplete
from tables.incomplete import IncompleteCollector

MOST_LISTED: Final = 1_000


def order_view(order_id: str, state: OrderState) -> dict[str, Any]:
    """What a person wants to know of an order."""
    row = state.row
    waiting_for = max(0, row.num_products - len(products_of(state))) if row is not None and not row.deleted else None
    return {
        "order_id": order_id,
        "status": status_of(state),
        "emission": state.emission.name.lower(),
        "emitted": state.emission is Emission.EMITTED,
        "held": state.emission is Emission.PENDING and state.refused,
        "revision": state.revision,
        "products_missing": waiting_for,
        "row": None if row is None else msgspec.to_builtins(_named(row)),
        "products": msgspec.to_builtins(products_of(state)),
    }


def _named(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


class Counted(Protocol):
    """Something with totals since the start."""

    @property
    def counts(self) -> Counter[str]: ...


class Outside(Counted, Protocol):
    """Something that works on Redis."""

    @property
    def away_since(self) -> float | None: ...


def declare(app: BatchApp, orders: BatchTable, *, completion: Counted, guard: Outside, cache: Outside) -> None:
    """Add the views to the application.

    `/orders/{order_id}/` is answered by the worker that owns the order, whichever is asked; `/orders/incomplete`,
    `/stats/` and `/metrics` speak of the worker that is asked.
    """

    @app.page("/orders/incomplete", name="incomplete")
    async def incomplete_orders(view: View, request: Request) -> Response:
        try:
            limit = min(max(int(request.query.get("limit", 100)), 0), MOST_LISTED)
        except ValueError:
            return view.json({"error": "limit must be a whole number"}, status=400)
        return view.json(incomplete.listing(orders, app.partition_supervisor.open_partitions(), limit))

    @app.page("/orders/{order_id}/", name="order")
    @app.table_route(table=orders, match_info="order_id")
    async def order(view: View, request: Request, order_id: str) -> Response:
        try:
            state = orders.get(order_id)
        except NotHere:
            return view.json(_not_ready(app), status=503)
        if state is None:
            return view.json({"error": f"order {order_id} was never seen"}, status=404)
        return view.json(order_view(order_id, state))

    @app.page("/stats/", name="stats")
    async def stats(view: View, request: Request) -> Response:
        return view.json(figures(app, completion, guard, cache))

    @app.page("/metrics", name="metrics")
    async def metrics(view: View, request: Request) -> Response:
        open_partitions = app.partition_supervisor.open_partitions()
        collectors = [OrdersCollector(completion, guard, cache), IncompleteCollector(open_partitions)]
        # Not `view.text`: its content type may have no parameters.
        return view.bytes(await exposition(app, collectors), headers={"Content-Type": CONTENT_TYPE})


def figures(app: BatchApp, completion: Counted, guard: Outside, cache: Outside) -> dict[str, Any]:
    """What `/stats/` answers."""
    supervisor = app.partition_supervisor
    found = incomplete.counts(supervisor.open_partitions())
    return {
        "app": app.conf.id,
        "ready": supervisor.is_ready,
        **app.stats.as_dict(),
        **completion.counts,
        **{f"guard_{name}": number for name, number in guard.counts.items()},
        **cache.counts,
        "redis_away_since": guard.away_since or cache.away_since,
        "incomplete": {str(reason): number for reason, number in found.items()},
        "partitions": partitions(app),
        "standbys": {
            str(standby.number): {"records": standby.progress.records, "remaining": standby.progress.remaining}
            for standby in supervisor.standbys
        },
    }


class OrdersCollector(Collector):
    """What the completion, the guard and the cache count, for Prometheus."""

    def __init__(self, completion: Counted, guard: Outside, cache: Outside) -> None:
        self._completion, self._guard, self._cache = completion, guard, cache

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        yield counter("orders", "What happened to orders.", "event", self._completion.counts)
        yield counter("guard", "Answers of the lock guard to claims, and marks.", "event", self._guard.counts)
        yield counter("order_cache", "Entries of the order cache.", "event", self._cache.counts)
        away = [since for since in (self._guard.away_since, self._cache.away_since) if since is not None]
        seconds = time.time() - min(away) if away else 0.0
        yield GaugeMetricFamily("millrace_redis_away_seconds", "For how long Redis has not answered.", value=seconds)


def _not_ready(app: BatchApp) -> dict[str, Any]:
    return {"error": "the order's partition is being opened", "partitions": partitions(app)}


def partitions(app: BatchApp) -> dict[str, Any]:
    """State, restoration and position of each partition of this worker."""
    return {
        str(partition.number): {
            "state": partition.state,
            "error": partition.error,
            "next_offsets": partition.opening.queue.next_offsets,
            "restored_records": partition.progress.records,
            "restore_remaining": partition.progress.remaining,
            "restore_s": round(partition.progress.seconds, 3),
        }
        for partition in sorted(app.partition_supervisor.partitions, key=lambda partition: partition.number)
    }
