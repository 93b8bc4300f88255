"""Goal: shared transactions neither lose nor repeat an order, and each of their rules is needed.

Method: an exhaustive search of a model (`tests/support/shared_transaction_model.py`), in which the markers of a
transaction are written one by one. Without a rule, the search has to find the fault.
"""

from __future__ import annotations

import pytest

from tests.support.shared_transaction_model import Rule, SharedModel


@pytest.mark.parametrize(
    ("model", "fault", "story"),
    [
        (SharedModel(broken=Rule.END_NAMED), "apart", "is opened"),
        (SharedModel(broken=Rule.READ_AGAIN), "apart", "ends the named id, is open"),
        (SharedModel(broken=Rule.OWN_FIRST), "apart", "names the shared id"),
        (SharedModel(broken=Rule.NAME_FIRST), "apart", "sends a round"),
        (SharedModel(broken=Rule.END_BEFORE_NEXT), "apart", "begins shared1"),
        (SharedModel(broken=Rule.NEW_AFTER_REPEAT, turns=(2, 0), openings=0, troubles=2), "twice", "a late EndTxn"),
        (SharedModel(broken=Rule.REOPEN_UNKNOWN), "twice", "without an answer"),
    ],
    ids=lambda each: each.broken.name if isinstance(each, SharedModel) and each.broken else "",
)
def test_without_one_of_the_rules_the_search_finds_a_fault(model: SharedModel, fault: str, story: str) -> None:
    found = model.search()
    assert found.fault == fault
    assert any(story in step for step in found.story), found.story


@pytest.mark.parametrize(
    "model",
    [
        SharedModel(turns=(1, 0)),
        pytest.param(SharedModel(turns=(2, 0), openings=0, troubles=2), marks=pytest.mark.nightly),
        pytest.param(SharedModel(turns=(2, 0)), marks=pytest.mark.nightly),
        pytest.param(SharedModel(turns=(1, 1)), marks=pytest.mark.nightly),
        pytest.param(SharedModel(turns=(1, 0), openings=2, troubles=0), marks=pytest.mark.nightly),
    ],
    ids=str,
)
def test_with_all_rules_nothing_is_lost_or_repeated(model: SharedModel) -> None:
    found = model.search()
    assert found.fault is None, found.story
    assert found.states > 10_000
