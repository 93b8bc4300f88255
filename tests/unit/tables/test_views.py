"""The view of an order says what a person wants to know of it.

Method: states made by the real folds.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streams.model.order import Emission, OrderState, fold_order, fold_order_detail
from streams.model.order_life import forget_finished, utc_of
from tables.views.orders import order_view
from tables.views.people import order_page
from tests.support.builders import COMMITTED_MS, detail_change, order_change


@pytest.fixture
def state() -> OrderState:
    return OrderState()


def view_of(state: OrderState) -> Any:
    """The view as a client reads it."""
    return msgspec.json.decode(msgspec.json.encode(order_view("order-1", state)))


def test_an_order_that_waits_tells_how_many_products_are_missing(state: OrderState) -> None:
    fold_order(state, order_change(10, num_products=3))
    fold_order_detail(state, detail_change(20, product_id=102, quantity=4))
    assert view_of(state) == {
        "order_id": "order-1",
        "status": "incomplete",
        "emission": "pending",
        "emitted": False,
        "held": False,
        "revision": 0,
        "products_missing": 2,
        "row": {
            "customer_id": 11,
            "store_id": 22,
            "payment_method_id": 3,
            "num_products": 3,
            "ordered_at": "2026-01-02T03:04:05.000006Z",
            "deleted": False,
            "position": [0, 3, 10, 0],
        },
        "products": [{"product_id": 102, "quantity": 4}],
        "lines": [{"product_id": 102, "quantity": 4, "deleted": False, "position": [0, 3, 20, 0]}],
        "first_seen_at": view_of(state)["changed_at"],
        "changed_at": utc_of(COMMITTED_MS).isoformat().replace("+00:00", "Z"),
        "reported": False,
    }


def test_an_order_whose_row_was_never_seen_has_products_but_no_row(state: OrderState) -> None:
    fold_order_detail(state, detail_change(20))
    view = view_of(state)
    assert (view["status"], view["row"], view["products_missing"]) == ("incomplete", None, None)
    assert view["products"] == [{"product_id": 101, "quantity": 1}]


def test_an_order_is_held_only_while_its_lock_is_asked_for(state: OrderState) -> None:
    fold_order(state, order_change(10, num_products=1))
    fold_order_detail(state, detail_change(20))
    state.emission, state.denied = Emission.PENDING, True
    assert view_of(state)["held"]
    fold_order_detail(state, detail_change(30, deleted=True))
    assert (view_of(state)["held"], view_of(state)["products_missing"]) == (False, 1)
    fold_order(state, order_change(40, deleted=True))
    assert (view_of(state)["held"], view_of(state)["status"]) == (False, "deleted")


def test_a_complete_order_misses_nothing(state: OrderState) -> None:
    fold_order(state, order_change(10, num_products=1))
    fold_order_detail(state, detail_change(20))
    view = view_of(state)
    assert (view["status"], view["emitted"], view["products_missing"]) == ("complete", True, 0)


def test_more_products_than_expected_are_not_missing_less_than_none(state: OrderState) -> None:
    fold_order(state, order_change(10, num_products=1))
    for product_id in (101, 102, 103):
        fold_order_detail(state, detail_change(20, product_id=product_id))
    view = view_of(state)
    assert (view["products_missing"], view["revision"], len(view["products"])) == (0, 2, 3)


def test_a_deleted_order_waits_for_nothing(state: OrderState) -> None:
    fold_order(state, order_change(10, num_products=3))
    fold_order(state, order_change(20, num_products=3, deleted=True))
    view = view_of(state)
    assert (view["status"], view["products_missing"], view["row"]["deleted"]) == ("deleted", None, True)


def test_deleted_lines_are_not_shown(state: OrderState) -> None:
    fold_order(state, order_change(10, num_products=1))
    fold_order_detail(state, detail_change(20, deleted=True))
    assert (view_of(state)["products"], view_of(state)["products_missing"]) == ([], 1)


def test_a_view_alters_no_state(state: OrderState) -> None:
    fold_order(state, order_change(10))
    before = msgspec.msgpack.encode(state)
    view_of(state)
    assert msgspec.msgpack.encode(state) == before


def test_a_forgotten_order_is_shown_as_such(state: OrderState) -> None:
    fold_order(state, order_change(10, num_products=1))
    fold_order_detail(state, detail_change(20))
    forget_finished(state, 2 * COMMITTED_MS, 0)
    view = view_of(state)
    assert (view["status"], view["emission"], view["row"], view["products"]) == ("forgotten", "emitted", None, [])


def test_the_page_of_an_order_shows_what_a_worker_of_the_former_release_says(state: OrderState) -> None:
    fold_order(state, order_change(10, num_products=3))
    view = view_of(state)
    former = {name: view[name] for name in view if name not in ("lines", "first_seen_at", "changed_at", "reported")}
    page = order_page("order-1", former)
    assert "Products still missing: 3." in page
    assert "Product lines" not in page
    assert "Product lines: 0" in order_page("order-1", view)
