"""Goal: an order has no more product lines than are kept, and none waits for more than that.

Method: the folds, at the limit and beyond.
"""

from __future__ import annotations

from copy import deepcopy

import pytest

from streams.model.fold import STATE_ONLY, Rejected
from streams.model.order import MAX_LINES, OrderState, fold_order, fold_order_detail
from tests.support.builders import detail_change, order_change


def full_order() -> OrderState:
    """An order with all the lines it may have."""
    state = OrderState()
    for product_id in range(MAX_LINES):
        fold_order_detail(state, detail_change(10, product_id=product_id))
    return state


def test_an_order_that_could_never_be_complete_is_rejected() -> None:
    state = OrderState()
    with pytest.raises(Rejected, match=f"num_products: must be from 1 to {MAX_LINES}, not {MAX_LINES + 1}"):
        fold_order(state, order_change(10, num_products=MAX_LINES + 1))
    assert fold_order(state, order_change(10, num_products=MAX_LINES)) is STATE_ONLY


def test_a_line_beyond_the_limit_is_rejected_and_alters_nothing() -> None:
    state = full_order()
    before = deepcopy(state)
    with pytest.raises(Rejected, match=f"more than {MAX_LINES}"):
        fold_order_detail(state, detail_change(20, product_id=MAX_LINES))
    assert state == before


def test_a_full_order_still_takes_changes_of_its_lines() -> None:
    state = full_order()
    assert fold_order_detail(state, detail_change(20, product_id=5, quantity=9)) is STATE_ONLY
    assert state.lines[5].quantity == 9
