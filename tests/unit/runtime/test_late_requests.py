"""Goal: a request that reaches the broker late neither loses nor repeats an order, and each part of the mend is needed.

Method: an exhaustive search of a model of turns, transactions, take-overs and the lock guard
(`tests/support/transaction_model.py`). Without the mend, the search has to find the fault.
"""

from __future__ import annotations

import pytest

from tests.support.transaction_model import ADD, END, OFFSETS, Mend, Model

ONE_WORKER = (0,)
TWO_WORKERS = (0, 0)
TWO_APPLICATIONS = (0, 1)


@pytest.mark.parametrize(
    ("apps", "faults"),
    [(ONE_WORKER, {"lost"}), (TWO_WORKERS, {"lost", "twice"}), (TWO_APPLICATIONS, {"lost", "twice"})],
)
def test_in_the_same_epoch_a_late_end_ends_the_next_transaction_half_way(
    apps: tuple[int, ...], faults: set[str]
) -> None:
    found = Model(mend=Mend.NONE, apps=apps, openings=len(apps) - 1).search()
    assert found.fault in faults
    assert f"late {END} of epoch 1" in found.story


def test_in_the_same_epoch_late_offsets_set_the_next_transaction_back() -> None:
    found = Model(mend=Mend.NONE, apps=ONE_WORKER, late=frozenset({OFFSETS})).search()
    assert found.fault == "back"


def test_a_new_epoch_for_a_worker_that_was_replaced_repeats_what_the_new_owner_did() -> None:
    alone = Model(mend=Mend.NEW_EPOCH, apps=ONE_WORKER, delays=2).search()
    assert alone.fault is None, "a model with a single worker would have let it pass"
    found = Model(mend=Mend.NEW_EPOCH, apps=TWO_WORKERS).search()
    assert found.fault == "twice"
    assert "worker 1 opens the partition" in found.story


@pytest.mark.parametrize(
    "model",
    [
        Model(mend=Mend.REOPEN, apps=TWO_WORKERS),
        Model(mend=Mend.REOPEN, apps=TWO_WORKERS, openings=1, late=frozenset({ADD, OFFSETS, END})),
        Model(mend=Mend.REOPEN, apps=TWO_APPLICATIONS, openings=1),
        pytest.param(
            Model(mend=Mend.REOPEN, apps=TWO_WORKERS, delays=2, late=frozenset({ADD, OFFSETS, END})),
            marks=pytest.mark.nightly,
        ),
        pytest.param(Model(mend=Mend.REOPEN, apps=TWO_APPLICATIONS, delays=2), marks=pytest.mark.nightly),
    ],
    ids=lambda model: f"{model.apps}, {model.openings} openings, {model.delays} late of {sorted(model.late)}",
)
def test_opening_the_partition_again_loses_and_repeats_nothing(model: Model) -> None:
    found = model.search()
    assert found.fault is None, found.story
    assert found.states > 1_000
