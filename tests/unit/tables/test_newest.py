"""Goal: the age of the newest stored change is known from the first one on, and never negative.

Method: `NewestChange` with a clock of its own.
"""

from __future__ import annotations

from tables.newest import NewestChange

NAME = "millrace_newest_change_age_seconds"


def ages(newest: NewestChange) -> list[float]:
    """What Prometheus reads."""
    return [sample.value for family in newest.collect() for sample in family.samples if sample.name == NAME]


def test_the_age_is_that_of_the_newest_change_in_whatever_order_they_are_stored() -> None:
    newest = NewestChange(clock=lambda: 100.0)
    assert (newest.figures(), ages(newest)) == ({"newest_change": {"age_s": None}}, [])
    newest.note([90_000, 97_500, 95_000])
    newest.note([96_000])
    newest.note([])
    assert (newest.figures(), ages(newest)) == ({"newest_change": {"age_s": 2.5}}, [2.5])


def test_a_source_whose_clock_is_ahead_has_changes_of_now() -> None:
    newest = NewestChange(clock=lambda: 100.0)
    newest.note([101_000])
    assert newest.age_s == 0.0
