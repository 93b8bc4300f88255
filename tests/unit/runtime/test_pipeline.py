"""Which partition numbers a worker processes, and which it stands by for, out of what the group has assigned.

Method: pipelines of two topics with and without a changelog, and assignments by hand and at random.
"""

from __future__ import annotations

from typing import cast

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.runtime.partition.committer import Committer
from streams.runtime.partition.pipeline import PartitionsApartError, Pipeline, StateTable
from streams.runtime.partition.processor import Processor


class FakeTable:
    """The part of a table that names its changelog."""

    changelog_name = "changelog"


def no_committer(partition: int) -> Committer:
    raise AssertionError("nothing is opened here")


def pipeline(*, has_state: bool = True) -> Pipeline:
    return Pipeline(
        name="p",
        sources=("orders", "details"),
        outputs=(),
        table=cast(StateTable, FakeTable()) if has_state else None,
        processor=cast(Processor, None),
        new_committer=no_committer,
    )


def assigned(**numbers: list[int]) -> set[TP]:
    return {TP(topic, number) for topic, found in numbers.items() for number in found}


@given(active=st.sets(st.integers(0, 9)), standby=st.sets(st.integers(0, 9)))
def test_a_number_with_its_sources_is_processed_and_one_with_its_changelog_alone_is_stood_by(
    active: set[int], standby: set[int]
) -> None:
    found = assigned(orders=[*active], details=[*active], changelog=[*active, *standby], others=[1, 2])
    assert pipeline().numbers(found) == (sorted(active), sorted(standby - active))


def test_a_pipeline_without_a_state_needs_no_changelog() -> None:
    found = assigned(orders=[2, 0], details=[0, 2], changelog=[5])
    assert pipeline(has_state=False).numbers(found) == ([0, 2], [])


@pytest.mark.parametrize(
    "found",
    [
        assigned(orders=[0, 1], details=[0], changelog=[0, 1]),
        assigned(orders=[0], details=[1], changelog=[0, 1]),
        assigned(orders=[0, 1], details=[0, 1], changelog=[0]),
        assigned(details=[0], changelog=[0]),
    ],
    ids=["one source more", "other numbers", "no changelog", "no first source"],
)
def test_numbers_that_belong_together_and_were_assigned_apart_are_refused(found: set[TP]) -> None:
    with pytest.raises(PartitionsApartError, match="orders"):
        pipeline().numbers(found)
