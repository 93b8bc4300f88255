"""Prometheus metrics of the watch over a connector, on a web server of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stack.errors import StackError
from streams.adapters.exposition import serve_metrics


class Watched(Protocol):
    """The part of a watch that its metrics show."""

    @property
    def is_up(self) -> bool: ...

    @property
    def is_sweep_due(self) -> bool: ...


class WatchCollector(Collector):
    """Prometheus collector of what a watch saw last."""

    def __init__(self, name: str, watch: Watched) -> None:
        self._name = name
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        """Yield whether the connector runs, and whether a sweep is due."""
        up = GaugeMetricFamily(
            "millrace_connector_up",
            "1 if the connector and all its tasks were running at the last look, otherwise 0.",
            labels=["connector"],
        )
        up.add_metric([self._name], self._watch.is_up)
        yield up
        due = GaugeMetricFamily(
            "millrace_connector_sweep_due",
            "1 if rows may have vanished from the source since the last complete sweep, otherwise 0.",
            labels=["connector"],
        )
        due.add_metric([self._name], self._watch.is_sweep_due)
        yield due


@contextlib.contextmanager
def exposed(address: tuple[str, int] | None, name: str, watch: Watched) -> Iterator[None]:
    """Serve the metrics of a watch at this host and port, if there are any, until the context ends.

    Raises:
        StackError: the port cannot be used.
    """
    try:
        end = None if address is None else serve_metrics(address, WatchCollector(name, watch))
    except OSError as error:
        raise StackError(error.strerror) from None
    try:
        yield
    finally:
        if end is not None:
            end()
