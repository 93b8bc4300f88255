"""Folds that are wrong in one way each, to see that the property tests would notice.

Each stands around the real fold and spoils what it does. `MUTANTS` has them by what they get wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from streams.model.fold import STATE_ONLY, UNCHANGED
from streams.model.order import Emission, OrderRow, OrderState, ProductLine, products_of
from streams.model.position import Position
from streams.model.published import AmendedOrder, CompleteOrder, SourcePosition
from tests.unit.model.delivery import FOLDS, Fold

BEFORE_EVERYTHING: Final[Position] = (-1, 0, 0, 0)


def forgets_that_it_was_emitted(fold: Fold) -> Fold:
    def mutant(state: OrderState, change: Any) -> Any:
        outcome = fold(state, change)
        state.emission = Emission.PENDING
        return outcome

    return mutant


def accepts_older_positions(fold: Fold) -> Fold:
    def mutant(state: OrderState, change: Any) -> Any:
        if (known := _known(state, change)) is not None and known.position > change.position:
            known.position = BEFORE_EVERYTHING
        return fold(state, change)

    return mutant


def forgets_deleted_rows(fold: Fold) -> Fold:
    def mutant(state: OrderState, change: Any) -> Any:
        outcome = fold(state, change)
        if (known := _known(state, change)) is not None and known.deleted:
            known.position = BEFORE_EVERYTHING
        return outcome

    return mutant


def counts_deleted_lines(fold: Fold) -> Fold:
    def mutant(state: OrderState, change: Any) -> Any:
        outcome = fold(state, change)
        row, is_pending = state.row, state.emission is Emission.PENDING
        if (
            outcome is not STATE_ONLY
            or not is_pending
            or row is None
            or row.deleted
            or len(state.lines) < row.num_products
        ):
            return outcome
        state.emission = Emission.EMITTED
        return _complete_order(change.key, state, row, change.position)

    return mutant


def has_one_position_for_the_whole_order(fold: Fold) -> Fold:
    def mutant(state: OrderState, change: Any) -> Any:
        newest = max((part.position for part in (state.row, *state.lines.values()) if part is not None), default=None)
        if newest is not None and change.position < newest:
            return UNCHANGED
        return fold(state, change)

    return mutant


def takes_snapshot_reads_for_the_newest(fold: Fold) -> Fold:
    def mutant(state: OrderState, change: Any) -> Any:
        if change.position[3] < 0:
            change = msgspec.structs.replace(change, position=(*change.position[:1], 2**31, 0, 0))
        return fold(state, change)

    return mutant


def swallows_changes_after_emission(fold: Fold) -> Fold:
    def mutant(state: OrderState, change: Any) -> Any:
        return UNCHANGED if state.emission is not Emission.PENDING else fold(state, change)

    return mutant


def never_counts_revisions(fold: Fold) -> Fold:
    def mutant(state: OrderState, change: Any) -> Any:
        outcome = fold(state, change)
        if isinstance(outcome, AmendedOrder):
            outcome.revision = 1
        return outcome

    return mutant


def amends_although_nothing_altered(fold: Fold) -> Fold:
    def mutant(state: OrderState, change: Any) -> Any:
        outcome = fold(state, change)
        row = state.row
        if outcome is not STATE_ONLY or state.emission is Emission.PENDING or row is None or row.deleted:
            return outcome
        again = _complete_order(change.key, state, row, change.position)
        state.revision += 1
        status = "complete" if len(again.products) >= row.num_products else "incomplete"
        return AmendedOrder(**msgspec.structs.asdict(again), status=status, revision=state.revision)  # type: ignore[arg-type]

    return mutant


def waits_for_one_product_too_many(fold: Fold) -> Fold:
    def mutant(state: OrderState, change: Any) -> Any:
        if isinstance(getattr(change.row, "num_products", None), int):
            change = msgspec.structs.replace(
                change, row=msgspec.structs.replace(change.row, num_products=change.row.num_products + 1)
            )
        return fold(state, change)

    return mutant


def never_completes_by_the_order_row(fold: Fold) -> Fold:
    def mutant(state: OrderState, change: Any) -> Any:
        outcome = fold(state, change)
        if isinstance(outcome, CompleteOrder) and hasattr(change.row, "num_products"):
            state.emission = Emission.PENDING
            return STATE_ONLY
        return outcome

    return mutant


def _known(state: OrderState, change: Any) -> OrderRow | ProductLine | None:
    """What the state holds of the row that the change is about."""
    product_id = getattr(change.row, "product_id", None)
    return state.row if product_id is None else state.lines.get(product_id)


def _complete_order(key: bytes, state: OrderState, row: OrderRow, position: Position) -> CompleteOrder:
    """A record of the state, complete or not."""
    return CompleteOrder(
        key.decode(),
        row.customer_id,
        row.store_id,
        None,
        row.num_products,
        products_of(state),
        row.ordered_at,
        SourcePosition(*position),
    )


Mutation = Callable[[Fold], Fold]

MUTANTS: Final[tuple[Mutation, ...]] = (
    forgets_that_it_was_emitted,
    accepts_older_positions,
    forgets_deleted_rows,
    counts_deleted_lines,
    has_one_position_for_the_whole_order,
    takes_snapshot_reads_for_the_newest,
    swallows_changes_after_emission,
    never_counts_revisions,
    amends_although_nothing_altered,
    waits_for_one_product_too_many,
    never_completes_by_the_order_row,
)


def mutated(mutation: Mutation) -> Mapping[str, Fold]:
    """Both folds, spoiled alike."""
    return {topic: mutation(fold) for topic, fold in FOLDS.items()}
