"""Counts, ages and reasons of the orders that are not emitted yet, taken from their timers."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.model.order import OrderState, live_lines
from streams.model.order_life import INCOMPLETE_KINDS, REPORTED, reason_of_kind, utc_of
from streams.model.published import IncompleteReason
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.faust.table import NotHere, TransactionalTable
from streams.runtime.partition.processor import PartitionView
from streams.runtime.web.pages import open_partitions


def counts(partitions: Sequence[PartitionView]) -> Counter[IncompleteReason]:
    """Return the number of incomplete orders by reason."""
    found = Counter(dict.fromkeys(IncompleteReason, 0))
    for partition in partitions:
        for kind in INCOMPLETE_KINDS:
            found[reason_of_kind(kind)] += partition.count(kind)
    return found


def oldest_seconds(partitions: Sequence[PartitionView]) -> dict[IncompleteReason, float]:
    """Return the age of the oldest incomplete order in seconds, by reason; 0 if there is none."""
    found = dict.fromkeys(IncompleteReason, 0.0)
    for partition in partitions:
        for kind in INCOMPLETE_KINDS:
            reason = reason_of_kind(kind)
            known = (at_ms for at_ms, _ in partition.timers(kind) if at_ms > 0)
            for at_ms in islice(known, 1):
                found[reason] = max(found[reason], (partition.now_ms - at_ms) / 1000)
    return found


def figures(app: TransactionalApp) -> dict[str, Any]:
    """Return the number of incomplete orders by reason, for the web page `/stats/`."""
    found = counts(open_partitions(app))
    return {"incomplete": {str(reason): number for reason, number in found.items()}}


def listing(orders: TransactionalTable, partitions: Sequence[PartitionView], limit: int) -> dict[str, Any]:
    """Return the response of `/orders/incomplete`: counts, the greatest age, and up to `limit` of the oldest orders."""
    found = counts(partitions)
    return {
        "count": sum(found.values()),
        "by_reason": {str(reason): number for reason, number in found.items()},
        "oldest_age_s": max(oldest_seconds(partitions).values()),
        "partitions": [partition.number for partition in partitions],
        "orders": _oldest(orders, partitions, limit),
    }


def _oldest(orders: TransactionalTable, partitions: Sequence[PartitionView], limit: int) -> list[dict[str, Any]]:
    oldest = heapq.merge(
        *[_entries(partition, kind) for partition in partitions for kind in INCOMPLETE_KINDS], key=_age
    )
    return [_line(orders, *entry) for entry in islice(oldest, limit)]


def _entries(partition: PartitionView, kind: int) -> Iterator[tuple[int, bytes, int, PartitionView]]:
    return ((at_ms, key, kind, partition) for at_ms, key in partition.timers(kind))


def _age(entry: tuple[int, bytes, int, PartitionView]) -> tuple[int, bytes]:
    return entry[:2]


def _line(orders: TransactionalTable, at_ms: int, key: bytes, kind: int, partition: PartitionView) -> dict[str, Any]:
    try:
        state: OrderState | None = orders.get(key.decode())
    except (NotHere, msgspec.DecodeError):
        state = None
    row = None if state is None else state.row
    return {
        "order_id": key.decode(),
        "reason": str(reason_of_kind(kind)),
        "num_products": None if row is None else row.num_products,
        "products_present": 0 if state is None else live_lines(state),
        "first_seen_at": msgspec.to_builtins(utc_of(at_ms)) if at_ms else None,
        "age_s": round((partition.now_ms - at_ms) / 1000, 3) if at_ms else None,
        "reported": bool(kind & REPORTED),
    }


class IncompleteCollector(Collector):
    """Prometheus collector of the number and the age of incomplete orders."""

    def __init__(self, app: TransactionalApp) -> None:
        self._app = app

    def collect(self) -> Iterator[Metric]:
        """Return two gauges, labelled by reason: number of incomplete orders, and age of the oldest."""
        number = GaugeMetricFamily(
            "millrace_orders_incomplete", "Number of orders that are not emitted yet.", labels=["reason"]
        )
        oldest = GaugeMetricFamily(
            "millrace_orders_incomplete_oldest_seconds",
            "Age of the oldest order that is not emitted yet, in seconds.",
            labels=["reason"],
        )
        partitions = open_partitions(self._app)
        for reason, count in counts(partitions).items():
            number.add_metric([reason], count)
        for reason, seconds in oldest_seconds(partitions).items():
            oldest.add_metric([reason], seconds)
        return iter((number, oldest))
