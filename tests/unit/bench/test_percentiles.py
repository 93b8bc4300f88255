"""Goal: every order's way is split at the right moments, and the shares of the stations add up.

Method: waits made up by hand, and log segments built byte by byte.
"""

from __future__ import annotations

import struct

import pytest

from bench.percentiles import STATIONS, commit_markers, steps, summary

CONTROL, DATA = 0x30, 0x10


def batch(offset: int, *, attributes: int, at_ms: int, payload: bytes = b"x" * 20) -> bytes:
    """A record batch as it is in a log segment."""
    body = struct.pack(">ibIhiqq", 0, 2, 0, attributes, 0, at_ms - 5, at_ms) + payload
    return struct.pack(">qi", offset, len(body)) + body


def test_only_the_markers_of_a_segment_are_found_with_their_times() -> None:
    segment = b"".join(
        [
            batch(0, attributes=DATA, at_ms=1_000, payload=b"y" * 333),
            batch(7, attributes=CONTROL, at_ms=1_010),
            batch(8, attributes=DATA, at_ms=1_020),
            batch(9, attributes=CONTROL, at_ms=1_030),
        ]
    )
    assert list(commit_markers(segment)) == [(7, 1_010), (9, 1_030)]


def test_a_batch_that_is_still_being_written_is_left_alone() -> None:
    assert list(commit_markers(batch(3, attributes=CONTROL, at_ms=9) + b"\0" * 30)) == [(3, 9)]


def test_a_way_is_split_at_its_stations() -> None:
    assert steps([100.0, 110.0, 115.0, 140.0, 142.0]) == dict(zip(STATIONS, [10.0, 5.0, 25.0, 2.0], strict=True))


def test_whole_milliseconds_of_one_clock_make_no_negative_step() -> None:
    assert steps([100.7, 100.0, 101.0, 102.0, 103.0])[STATIONS[0]] == 0.0


def test_the_summary_has_percentiles_of_the_whole_and_shares_that_add_up() -> None:
    waits = [[0.0, 10.0, 20.0, 60.0, 60.0 + extra] for extra in range(1, 101)]
    found = summary(waits)
    assert (found["orders"], found["p50_ms"], found["p99_ms"], found["p999_ms"]) == (100, 110.0, 159.0, 160.0)
    shares = [station["share"] for station in found["stations"].values()]
    assert sum(shares) == pytest.approx(1.0, abs=0.002)
    assert found["stations"]["worker_committed"]["p50_ms"] == 40.0
