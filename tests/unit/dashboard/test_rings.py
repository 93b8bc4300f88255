"""Goal: what a worker remembers of its speed is true, small and bounded, and the charts made of it stand still.

Method: values added one by one.
"""

from __future__ import annotations

import sys

from streams.runtime.web.dashboard.rings import MINUTES, MINUTES_A_POINT, SECONDS, SECONDS_A_POINT, Ring


def filled(ring: Ring, number: int) -> Ring:
    for value in range(number):
        ring.add(float(value), value / 1_000)
    return ring


def test_the_newest_values_are_kept_in_order() -> None:
    ring = filled(Ring(3, 10), 5)
    assert ring.values() == {"rate": [2.0, 3.0, 4.0], "p99": [0.002, 0.003, 0.004]}


def test_a_point_has_the_average_speed_and_the_worst_latency() -> None:
    assert filled(Ring(20, 4), 8).points() == {"rate": [1.5, 5.5], "p99": [0.003, 0.007]}


def test_a_point_stays_as_it_is_while_others_are_added() -> None:
    ring = filled(Ring(12, 4), 12)
    before = ring.points()["rate"]
    ring.add(100.0, 0.0)
    after = ring.points()["rate"]
    assert after[1:3] == before[1:], "whole points move on"
    assert after[-1] == 100.0


def test_nothing_has_no_points() -> None:
    assert Ring(3, 10).points() == {"rate": [], "p99": []}


def test_both_memories_of_a_worker_are_below_two_megabytes() -> None:
    rings = filled(Ring(SECONDS, SECONDS_A_POINT), 2_000), filled(Ring(MINUTES, MINUTES_A_POINT), 3_000)
    size = 0
    for ring in rings:
        for pair in ring._values:
            size += sys.getsizeof(pair) + sum(sys.getsizeof(value) for value in pair)
    assert 100_000 < size < 2_000_000
    assert [len(ring.points()["rate"]) for ring in rings] == [SECONDS // SECONDS_A_POINT, MINUTES // MINUTES_A_POINT]
