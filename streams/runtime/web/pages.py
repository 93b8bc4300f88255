"""Web pages of each worker: figures at `/stats/`, Prometheus metrics at `/metrics`, and readiness at `/health`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from faust.types import TP
from faust.web import Request, Response, View
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.runtime.faust.app import TransactionalApp
from streams.runtime.faust.source_offsets import SourceLag
from streams.runtime.partition.lifecycle import PartitionState
from streams.runtime.partition.processor import PartitionView
from streams.runtime.web.dashboard.history import History
from streams.runtime.web.dashboard.pages import declare_dashboard
from streams.runtime.web.dashboard.sections import MOST_REASONS_SHOWN, PartSection
from streams.runtime.web.metrics import CONTENT_TYPE, VERSION, counter, exposition
from streams.runtime.web.rules import NEWEST_REASON, RULES, Figures, Rule
from streams.runtime.web.words import server_of

Said = TypeVar("Said", int, str)


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
    collectors: Sequence[Collector] = (),
    rules: Sequence[Rule] = RULES,
    published: Callable[[], int] | None = None,
    parts: Mapping[str, Part] = MappingProxyType({}),
    servers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Add the pages `/`, `/stats/`, `/history`, `/metrics` and `/health`.

    Args:
        counted: components that count events, keyed by the name that the pages show.
        figures: returns additional figures for `/stats/`; called on each request.
        collectors: collect additional metrics for `/metrics`.
        rules: what is worth a person's attention.
        published: returns the number of results published since the start; by default, of all output records.
        parts: what only this application has on the page `/`, keyed by the id of the section (see `PARTS`).
        servers: names of the servers other than Kafka that components need, keyed by component.
    """
    own = OwnSnapshot(app, counted, figures, parts, servers)
    own.remember(rules, published or (lambda: app.stats.counters["outputs"]))
    _declare_small_pages(app, own)
    declare_dashboard(app, own.take, rules, {name: part.section for name, part in parts.items()})

    @app.page("/stats/", name="stats")
    async def stats(view: View, request: Request) -> Response:
        lags = await app.partition_supervisor.offsets.lags()
        return await app.pages.build(lambda: view.json({**_own_figures(app, counted, lags), **figures()}))

    @app.page("/metrics", name="metrics")
    async def metrics(view: View, request: Request) -> Response:
        found = [CountedCollector(counted), *collectors]
        # `view.text` accepts no parameters in the content type.
        lags = await app.partition_supervisor.offsets.lags()
        text = await app.pages.build(lambda: exposition(app, lags, found))
        return view.bytes(text, headers={"Content-Type": CONTENT_TYPE})


def _declare_small_pages(app: TransactionalApp, own: OwnSnapshot) -> None:
    @app.page("/history", name="history")
    async def history(view: View, request: Request) -> Response:
        return await app.pages.build(lambda: view.json(own.remembered()))

    @app.page("/health", name="health")
    async def health(view: View, request: Request) -> Response:
        return view.json(health_of(app), status=200 if app.partition_supervisor.is_ready else 503)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the page `/` that only one application has.

    Attributes:
        figures: returns what this worker knows; for what waits in the application, with its number as `count`.
        section: renders the figures of all workers.
    """

    figures: Callable[[], Mapping[str, Any]]
    section: PartSection


class OwnSnapshot:
    """What a worker says of itself to those who show the page `/`."""

    def __init__(
        self,
        app: TransactionalApp,
        counted: Mapping[str, Counted],
        figures: Callable[[], Mapping[str, Any]],
        parts: Mapping[str, Part],
        servers: Mapping[str, str],
    ) -> None:
        self._servers = dict(servers)
        self._app = app
        self._counted = counted
        self._figures = figures
        self._parts = parts
        self._history: History

    def remember(self, rules: Sequence[Rule], published: Callable[[], int]) -> None:
        """Start to look at the worker's figures when it starts."""
        self._history = History(look=self.look, published=published, rules=rules)
        self._app.start_with(self._history)

    def remembered(self) -> dict[str, Any]:
        """Return the worker's speed and latency of the last quarter of an hour and of the last day."""
        return self._history.memory()

    async def take(self) -> dict[str, Any]:
        """Return the snapshot."""
        lags = await self._app.partition_supervisor.offsets.lags()
        return await self._app.pages.build(lambda: self._build(lags))

    def _build(self, lags: Mapping[TP, SourceLag]) -> dict[str, Any]:
        history = self._history
        return {
            "version": VERSION,
            "at": time.time(),
            "kafka_at": self._kafka_at(lags),
            "started_at": self._app.stats.started_at,
            "stats": {**_own_figures(self._app, self._counted, lags), **self._figures()},
            "servers": self._servers,
            "alerts": history.alerts(),
            "alert_log": history.alert_log.newest(),
            "letters": self._app.stats.refusals.most_common(MOST_REASONS_SHOWN),
            "rates": history.rates(),
            "visible": history.visible(),
            "series": history.series(),
            **{name: part.figures() for name, part in self._parts.items()},
        }

    def _kafka_at(self, lags: Mapping[TP, SourceLag]) -> float | None:
        """Return when Kafka last said where the source topics end; None before that, and without a source partition."""
        looked_at = self._app.partition_supervisor.offsets.looked_at
        return None if looked_at is None or not lags else time.time() - (time.monotonic() - looked_at)

    async def look(self) -> Figures:
        """Return the present figures."""
        app, stats = self._app, self._app.stats
        lags = await app.partition_supervisor.offsets.lags()
        now = time.time()
        return Figures(
            turns=stats.turns,
            records=stats.counters["records"],
            dead_letters=stats.counters["refused"],
            lag_s={f"{tp.topic}/{tp.partition}": lag.oldest_s or 0.0 for tp, lag in lags.items() if lag.records},
            held_up_s=max([lag.held_up_s for lag in lags.values()], default=0.0),
            unanswered_s=app.partition_supervisor.offsets.age_s if lags else 0.0,
            not_running={
                name: f"{fault['state']} {fault['error'] or ''}".strip()
                for name, fault in health_of(app)["not_running"].items()
            },
            away_s={
                server_of(name, self._servers.get(name)): now - since
                for name, since in _away_since(self._counted).items()
            },
            visible=tuple(stats.visible_seconds.counts),
            events=self._said(int),
            texts=self._said(str) | ({} if stats.refusals.newest is None else {NEWEST_REASON: stats.refusals.newest}),
        )

    def _said(self, kind: type[Said]) -> dict[str, Said]:
        """Return what the components say that is of a kind: counts, or words."""
        groups = {**{name: part.counts for name, part in self._counted.items()}, **self._figures()}
        return {
            f"{group}.{event}": value
            for group, events in groups.items()
            for event, value in events.items()
            if isinstance(value, kind)
        }


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
