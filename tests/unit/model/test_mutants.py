"""The property tests can fail: every wrong fold is refuted within few histories.

Method: `mutants.py` spoils the folds in one way each; the same histories, deliveries and oracle as in
`test_order_properties.py` have to refute each of them, from a fixed seed. The mutants are judged by what they publish
alone (no change is folded twice at once), so that the oracle is what is tested. A refutation found here is not shrunk.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import Phase, given, seed, settings

from tests.unit.model.delivery import Delivery, Fold
from tests.unit.model.dict_shop import DETAILS, ORDERS
from tests.unit.model.mutants import MUTANTS, Mutation, mutated
from tests.unit.model.order_oracle import check
from tests.unit.model.strategies import Step, delivered, deliveries, histories, insert_histories, shop_after

SEED = 20260102
HISTORIES_MAX = 1_000

within_few_histories = settings(max_examples=HISTORIES_MAX, phases=[Phase.generate], database=None, deadline=None)


def try_to_refute(folds: Mapping[str, Fold]) -> None:
    """Check the folds against random histories; fails as soon as one refutes them."""

    @seed(SEED)
    @within_few_histories
    @given(history=histories, delivery=deliveries)
    def agree_with_the_database(history: list[Step], delivery: list[Step]) -> None:
        shop = shop_after(history)
        check(shop, delivered(shop, delivery, folds=folds, each_twice=False).outputs)

    agree_with_the_database()


@pytest.mark.parametrize("mutation", MUTANTS, ids=lambda mutation: mutation.__name__)
def test_a_wrong_fold_is_refuted(mutation: Mutation) -> None:
    with pytest.raises(AssertionError):
        try_to_refute(mutated(mutation))


def test_a_record_that_depends_on_the_order_of_topics_is_refuted() -> None:
    def with_the_last_read_position(fold: Fold) -> Fold:
        def mutant(state: object, change: object) -> object:
            outcome = fold(state, change)  # type: ignore[arg-type]
            if hasattr(outcome, "source"):
                outcome.source = change.position  # type: ignore[attr-defined]
            return outcome

        return mutant

    folds = mutated(with_the_last_read_position)

    @seed(SEED)
    @within_few_histories
    @given(history=insert_histories())
    def give_one_record(history: list[Step]) -> None:
        shop = shop_after(history)
        orders_first, details_first = Delivery(shop, folds, each_twice=False), Delivery(shop, folds, each_twice=False)
        orders_first.read_all(first=ORDERS)
        details_first.read_all(first=DETAILS)
        assert {str(output) for output in orders_first.outputs} == {str(output) for output in details_first.outputs}

    with pytest.raises(AssertionError):
        give_one_record()
