"""Compute percentiles of the latency of each stage between database commit and consumer, without I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from demo.proof import percentile

STATIONS: Final = ("captured", "source_committed", "worker_committed", "visible")
"""Events that end the stages: the record is in Kafka; the connector's Kafka transaction is committed; the worker's
transaction is committed; a consumer has seen the order."""

_HEADER: Final = struct.Struct(">qiibiHiqq")
_LENGTH_AT: Final = 12
"""Number of bytes at the start of a record batch that its length field does not count."""
_CONTROL: Final = 1 << 5


def commit_markers(segment: bytes) -> Iterator[tuple[int, int]]:
    """Yield the offset and time (ms since 1970) of each transaction marker in a log segment of the broker.

    Only these markers show when a transaction was committed, and consumers do not return them to programs.
    """
    at = 0
    while at + _HEADER.size <= len(segment):
        offset, length, _, _, _, attributes, _, _, latest_ms = _HEADER.unpack_from(segment, at)
        if attributes & _CONTROL:
            yield offset, latest_ms
        at += _LENGTH_AT + length


def steps(moments_ms: Sequence[float]) -> dict[str, float]:
    """Compute the duration of each stage in ms; the first stage starts at the commit in the database.

    All times are from the clock of one machine, but markers have whole milliseconds, so negative durations count as 0.
    """
    pairs = zip(STATIONS, moments_ms, moments_ms[1:], strict=False)
    return {station: max(0.0, later - earlier) for station, earlier, later in pairs}


def summary(waits_ms: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Compute percentiles of the total latency and of each stage, in ms, and each stage's share of the total."""
    totals = [moments[-1] - moments[0] for moments in waits_ms]
    found = [steps(moments) for moments in waits_ms]
    by_station = {station: [each[station] for each in found] for station in STATIONS}
    whole = sum(sum(values) for values in by_station.values()) or 1.0
    return {
        "orders": len(totals),
        **percentiles(totals),
        "stations": {
            station: {**percentiles(values), "share": round(sum(values) / whole, 3)}
            for station, values in by_station.items()
        },
    }


def percentiles(values_ms: Sequence[float]) -> dict[str, float]:
    """Compute the percentiles that the benchmark reports: p50, p99 and p99.9."""
    shares: Mapping[str, float] = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
    return {name: round(percentile(values_ms, share), 1) for name, share in shares.items()}
