"""Web pages of each worker: figures at `/stats/`, Prometheus metrics at `/metrics`, and readiness at `/health`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from faust.types import TP
from faust.web import Request, Response, View
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.runtime.faust.app import TransactionalApp
from streams.runtime.faust.source_offsets import SourceLag
from streams.runtime.partition.lifecycle import PartitionState
from streams.runtime.partition.processor import PartitionView
from streams.runtime.web.metrics import CONTENT_TYPE, counter, exposition


class Counted(Protocol):
    """A component of a worker that counts events since its start.

    If the component uses a server other than Kafka, it may also have `away_since`: the Unix time at which the current
    outage of that server began, or None.
    """

    @property
    def counts(self) -> Counter[str]: ...


def declare_pages(
    app: TransactionalApp,
    *,
    counted: Mapping[str, Counted],
    figures: Callable[[], Mapping[str, Any]] = dict,
    collector: Collector | None = None,
) -> None:
    """Add the pages `/stats/`, `/metrics` and `/health` to the application.

    Args:
        counted: components that count events, keyed by the name that both pages show.
        figures: returns additional figures for `/stats/`; called on each request.
        collector: collects additional metrics for `/metrics`.
    """

    @app.page("/stats/", name="stats")
    async def stats(view: View, request: Request) -> Response:
        lags = await app.partition_supervisor.offsets.lags()
        return await app.pages.build(lambda: view.json({**_own_figures(app, counted, lags), **figures()}))

    @app.page("/health", name="health")
    async def health(view: View, request: Request) -> Response:
        is_ready = app.partition_supervisor.is_ready
        return view.json(health_of(app), status=200 if is_ready else 503)

    @app.page("/metrics", name="metrics")
    async def metrics(view: View, request: Request) -> Response:
        collectors = [CountedCollector(counted), *([] if collector is None else [collector])]
        # `view.text` accepts no parameters in the content type.
        lags = await app.partition_supervisor.offsets.lags()
        text = await app.pages.build(lambda: exposition(app, lags, collectors))
        return view.bytes(text, headers={"Content-Type": CONTENT_TYPE})


def _own_figures(app: TransactionalApp, counted: Mapping[str, Counted], lags: Mapping[TP, SourceLag]) -> dict[str, Any]:
    return {
        "app": app.conf.id,
        "ready": app.partition_supervisor.is_ready,
        **app.stats.as_dict(),
        **{name: dict(part.counts) for name, part in counted.items()},
        "away_since": _away_since(counted),
        "partitions": partitions(app),
        "sources": sources(lags),
        "standbys": standbys(app),
    }


def health_of(app: TransactionalApp) -> dict[str, Any]:
    """Return whether the worker processes all its partitions, with the state and error of each that it does not."""
    not_running = {
        partition.name: {"state": partition.state, "error": partition.error}
        for partition in app.partition_supervisor.partitions
        if partition.state is not PartitionState.RUNNING
    }
    return {"app": app.conf.id, "ready": app.partition_supervisor.is_ready, "not_running": not_running}


def open_partitions(app: TransactionalApp) -> list[PartitionView]:
    """Return the `PartitionView` of each partition that is open in this worker, sorted by partition number."""
    found = [partition.task for partition in app.partition_supervisor.partitions if partition.task.is_open]
    return sorted((task.view for task in found), key=lambda view: view.number)


def partitions(app: TransactionalApp) -> dict[str, Any]:
    """Return the state, restore progress and next offsets of each partition of this worker, keyed by partition."""
    return {
        partition.name if len(app.pipelines) > 1 else str(partition.number): {
            "state": partition.state,
            "error": partition.error,
            "next_offsets": partition.task.queue.next_offsets,
            "restored_records": partition.progress.records,
            "restore_remaining": partition.progress.remaining,
            "restore_s": round(partition.progress.seconds, 3),
        }
        for partition in sorted(app.partition_supervisor.partitions, key=lambda p: (p.pipeline.name, p.number))
    }


def sources(lags: Mapping[TP, SourceLag]) -> dict[str, Any]:
    """Return how far each source partition of this worker is behind, keyed by topic and partition."""
    return {
        f"{tp.topic}/{tp.partition}": {
            "lag": lag.records,
            "oldest_s": None if lag.oldest_s is None else round(lag.oldest_s, 1),
            "uncommitted": lag.uncommitted,
            "held_up_s": round(lag.held_up_s, 1),
        }
        for tp, lag in sorted(lags.items())
    }


def standbys(app: TransactionalApp) -> dict[str, Any]:
    """Return the error and the restore progress of each standby of this worker, keyed by the standby's name."""
    return {
        standby.name: {
            "error": standby.error,
            "restored_records": standby.progress.records,
            "restore_remaining": standby.progress.remaining,
        }
        for standby in sorted(app.partition_supervisor.standbys, key=lambda s: (s.name, s.number))
    }


def _away_since(counted: Mapping[str, Counted]) -> dict[str, float]:
    """Return the Unix time at which each current outage began, keyed by the component whose server is down."""
    since = {name: getattr(part, "away_since", None) for name, part in counted.items()}
    return {name: moment for name, moment in since.items() if moment is not None}


class CountedCollector(Collector):
    """A Prometheus collector of the events and outages that a worker's components have counted."""

    def __init__(self, counted: Mapping[str, Counted]) -> None:
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        """Yield a counter family per component, and a gauge with the duration of each component's outage."""
        for name, part in self._counted.items():
            yield counter(name, f"Events counted by the worker's component `{name}`.", "event", part.counts)
        away = _away_since(self._counted)
        family = GaugeMetricFamily(
            "millrace_away_seconds",
            "Seconds since the component's server became unavailable; 0 if it is available.",
            labels=["part"],
        )
        for name in self._counted:
            family.add_metric([name], time.time() - away[name] if name in away else 0.0)
        yield family
