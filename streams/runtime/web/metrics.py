"""Prometheus metrics of a worker, computed from its counters on each request.

All metric names begin with `millrace_`. To keep the number of time series small, only consumer lag and the states
of partitions are reported per partition.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from faust.types import TP
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.runtime.faust.app import TransactionalApp
from streams.runtime.faust.source_offsets import SourceLag
from streams.runtime.partition.lifecycle import PartitionState
from streams.runtime.stats import Distribution

VERSION: Final = metadata.version("millrace")

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_FATES: Final = (
    "folded",
    "unchanged",
    "left",
    "after_retention",
    "tombstones",
    "malformed",
    "rejected",
    "failed",
)
_EVENTS: Final = {
    "opened": ("millrace_opened", "Number of times that a partition was opened."),
    "fenced": ("millrace_fenced", "Number of times that a partition was fenced by another owner."),
    "reopened_after_error": (
        "millrace_reopened_after_error",
        "Number of times that a partition was reopened after an error.",
    ),
    "stopped": (
        "millrace_stopped",
        "Number of times that a partition stopped because a source topic was created again or truncated.",
    ),
    "standbys_dropped": (
        "millrace_standbys_dropped",
        "Number of standbys that were dropped because their copy failed.",
    ),
    "reopened_for_epoch": (
        "millrace_reopened_for_epoch",
        "Number of times that a partition was reopened because Kafka did not answer a request of a transaction.",
    ),
    "restored_records": ("millrace_restored_records", "Changelog records replayed into local stores."),
    "outputs": ("millrace_outputs", "Records written to the output topics."),
    "headers_repaired": (
        "millrace_headers_repaired",
        "Records with headers that were changed or dropped because they could not be read.",
    ),
    "batches_left_out": (
        "millrace_batches_left_out",
        "Record batches left out because they are too large or cannot be decompressed.",
    ),
    "times_corrected": (
        "millrace_times_corrected",
        "Changes whose source time was not plausible and was replaced by the record's Kafka timestamp.",
    ),
    "refused": ("millrace_dead_letters", "Source records that became dead letters."),
}

_LAGS: Final[Sequence[tuple[str, str, Callable[[SourceLag], float | None]]]] = (
    ("millrace_lag_records", "Source records not processed yet; 0 when idle.", lambda lag: lag.records),
    (
        "millrace_lag_seconds",
        "Age of the oldest source record that is not processed yet, by its Kafka timestamp; 0 when idle.",
        lambda lag: lag.oldest_s,
    ),
    (
        "millrace_uncommitted_records",
        "Offsets that cannot be read yet, because a transaction before them is open.",
        lambda lag: lag.uncommitted,
    ),
    (
        "millrace_held_up_seconds",
        "Seconds for which one open transaction has held up the source partition; 0 if none does.",
        lambda lag: lag.held_up_s,
    ),
)


def exposition(app: TransactionalApp, lags: Mapping[TP, SourceLag], collectors: Iterable[Collector]) -> bytes:
    """Return the metrics of the worker and of `collectors` in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RuntimeCollector(app, lags))
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry)


def counter(name: str, help: str, label: str, values: Mapping[str, float]) -> CounterMetricFamily:
    """Build a counter family with one label; `values` holds the count for each value of the label."""
    family = CounterMetricFamily(f"millrace_{name}", help, labels=[label])
    for value, amount in values.items():
        family.add_metric([value], amount)
    return family


class RuntimeCollector(Collector):
    """A Prometheus collector that reads the runtime's counters, consumer lag and partition states."""

    def __init__(self, app: TransactionalApp, lag: Mapping[TP, SourceLag]) -> None:
        self._app = app
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        """Yield all metric families of the runtime."""
        stats = self._app.stats
        yield counter(
            "records", "Source records processed, by result.", "fate", {fate: stats.counters[fate] for fate in _FATES}
        )
        for event, (name, help) in _EVENTS.items():
            yield CounterMetricFamily(name, help, value=stats.counters[event])
        yield _histogram("turn_seconds", "Duration of a micro-batch in seconds.", stats.turn_seconds)
        yield _histogram(
            "commit_seconds", "Duration of a micro-batch's transaction and local write.", stats.commit_seconds
        )
        yield _histogram("turn_records", "Number of source records per micro-batch.", stats.turn_records)
        yield _histogram(
            "visible_seconds",
            "Seconds from the Kafka timestamp of a source record to the commit of the output it led to.",
            stats.visible_seconds,
        )
        yield _histogram(
            "loop_late_seconds",
            "Seconds by which a callback of the event loop ran late, because the loop was held.",
            stats.loop_seconds,
        )
        yield counter("turn_phase_seconds", "Duration of all micro-batches by phase.", "phase", stats.phase_seconds)
        yield from self._lag_families()
        yield from self._partitions()
        yield from self._worker()

    def _worker(self) -> Iterator[Metric]:
        """Yield what is known of the worker itself: its build, its start, and the room on the disk of its state."""
        build = GaugeMetricFamily(
            "millrace_build_info", "1, with the application and the versions.", labels=["app", "version", "python"]
        )
        build.add_metric([self._app.conf.id, VERSION, platform.python_version()], 1)
        yield build
        yield GaugeMetricFamily(
            "millrace_started_time_seconds",
            "Unix time at which the worker was started.",
            value=self._app.stats.started_at,
        )
        behind = self._app.stats.behind
        if behind is not None:
            yield GaugeMetricFamily(
                "millrace_source_behind_seconds",
                "Seconds from the newest change's commit in the source to Kafka.",
                value=behind[0] / 1000,
            )
        free = free_bytes(Path(self._app.conf.datadir))
        if free is not None:
            yield GaugeMetricFamily(
                "millrace_disk_free_bytes", "Free bytes on the disk that has the worker's state.", value=free
            )

    def _lag_families(self) -> Iterator[Metric]:
        for name, help, amount in _LAGS:
            family = GaugeMetricFamily(name, help, labels=["topic", "partition"])
            for tp, lag in self._lag.items():
                if (value := amount(lag)) is not None:
                    family.add_metric([tp.topic, str(tp.partition)], value)
            yield family
        yield GaugeMetricFamily(
            "millrace_end_offsets_age_seconds",
            "Seconds since Kafka last answered what the source topics' end offsets are.",
            value=self._app.partition_supervisor.offsets.age_s,
        )

    def _partitions(self) -> Iterator[Metric]:
        supervisor = self._app.partition_supervisor
        running = GaugeMetricFamily(
            "millrace_partition_running",
            "1 if the partition is open and being processed, otherwise 0.",
            labels=["partition"],
        )
        remaining = GaugeMetricFamily(
            "millrace_restore_remaining",
            "Changelog offsets still to be replayed before the partition opens.",
            labels=["partition"],
        )
        standby = GaugeMetricFamily(
            "millrace_standby_remaining",
            "Number of changelog offsets by which a standby lags behind.",
            labels=["partition"],
        )
        for partition in supervisor.partitions:
            running.add_metric([partition.name], partition.state is PartitionState.RUNNING)
            remaining.add_metric([partition.name], partition.progress.remaining)
        for follower in supervisor.standbys:
            standby.add_metric([follower.name], follower.progress.remaining)
        return iter((running, remaining, standby))


def free_bytes(folder: Path) -> int | None:
    """Return the free bytes on the disk of a folder; None if the folder does not exist yet."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _histogram(name: str, help: str, distribution: Distribution) -> HistogramMetricFamily:
    buckets, cumulated = [], 0
    for bound, count in zip([*distribution.bounds, "+Inf"], distribution.counts, strict=True):
        cumulated += count
        buckets.append((str(bound), cumulated))
    return HistogramMetricFamily(f"millrace_{name}", help, buckets=buckets, sum_value=distribution.total)
