"""Pages of every worker: `/stats/` for people and programs, `/metrics` for Prometheus."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from faust.web import Request, Response, View
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.processor import PartitionView
from streams.runtime.web.metrics import CONTENT_TYPE, counter, exposition


class Counted(Protocol):
    """A part of a worker with totals since the start; may have `away_since` if it uses a server other than Kafka."""

    @property
    def counts(self) -> Counter[str]: ...


def declare_pages(
    app: TransactionalApp,
    *,
    counted: Mapping[str, Counted],
    figures: Callable[[], Mapping[str, Any]] = dict,
    collector: Collector | None = None,
) -> None:
    """Add the pages to the application.

    Args:
        counted: parts of the application with totals, by the names under which both pages show them.
        figures: returns further figures for `/stats/`; called on each request.
        collector: collects further metrics for `/metrics`.
    """

    @app.page("/stats/", name="stats")
    async def stats(view: View, request: Request) -> Response:
        return view.json(
            {
                "app": app.conf.id,
                "ready": app.partition_supervisor.is_ready,
                **app.stats.as_dict(),
                **{name: dict(part.counts) for name, part in counted.items()},
                "away_since": _away_since(counted),
                **figures(),
                "partitions": partitions(app),
                "standbys": standbys(app),
            }
        )

    @app.page("/metrics", name="metrics")
    async def metrics(view: View, request: Request) -> Response:
        collectors = [CountedCollector(counted), *([] if collector is None else [collector])]
        # Not `view.text`: its content type may have no parameters.
        return view.bytes(await exposition(app, collectors), headers={"Content-Type": CONTENT_TYPE})


def open_partitions(app: TransactionalApp) -> list[PartitionView]:
    """Views of the open partitions, whose states can be read now, sorted by partition number."""
    found = [partition.task for partition in app.partition_supervisor.partitions if partition.task.is_open]
    return sorted((task.view for task in found), key=lambda view: view.number)


def partitions(app: TransactionalApp) -> dict[str, Any]:
    """State, restoration and position of each partition of this worker, keyed by its name."""
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


def standbys(app: TransactionalApp) -> dict[str, Any]:
    """Progress of each standby of this worker, keyed by its name."""
    return {
        standby.name: {"restored_records": standby.progress.records, "restore_remaining": standby.progress.remaining}
        for standby in sorted(app.partition_supervisor.standbys, key=lambda s: (s.name, s.number))
    }


def _away_since(counted: Mapping[str, Counted]) -> dict[str, float]:
    """Start of the outage (Unix time in seconds) of each part whose server does not answer, keyed by part."""
    since = {name: getattr(part, "away_since", None) for name, part in counted.items()}
    return {name: moment for name, moment in since.items() if moment is not None}


class CountedCollector(Collector):
    """Totals of the application's parts, for Prometheus."""

    def __init__(self, counted: Mapping[str, Counted]) -> None:
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        """Yield a counter for each part, and how long each server has been unavailable."""
        for name, part in self._counted.items():
            yield counter(name, f"Counters of the worker's part `{name}`.", "event", part.counts)
        away = _away_since(self._counted)
        family = GaugeMetricFamily(
            "millrace_away_seconds", "Seconds for which the part's server has not answered.", labels=["part"]
        )
        for name in self._counted:
            family.add_metric([name], time.time() - away[name] if name in away else 0.0)
        yield family
