"""Goal: what a slot pins is the most that the server kept at any time, and moving is not hidden by what is written."""

from __future__ import annotations

from bench.source import _quiet_row

MB = 1_000_000


def test_a_slot_that_follows_pins_little_whatever_is_written() -> None:
    found = _quiet_row([(10 * MB, MB), (10 * MB, 3 * MB), (14 * MB, MB), (30 * MB, 2 * MB)], 3)
    assert found == {
        "seconds": 3,
        "written_mb": 21.0,
        "slot_moved_mb": 20.0,
        "steps": 2,
        "pinned_most_mb": 3.0,
        "pinned_last_mb": 2.0,
    }


def test_a_slot_that_stands_still_pins_all_that_is_written() -> None:
    found = _quiet_row([(10 * MB, 0), (10 * MB, 5 * MB), (10 * MB, 9 * MB)], 2)
    assert (found["slot_moved_mb"], found["steps"], found["pinned_most_mb"]) == (0.0, 0, 9.0)
