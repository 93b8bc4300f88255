"""Goal: each change of a table's definition does to the order completion what docs/operate/schema-drift.md says.

Method: the changes that the connector delivers after it, and the decoder of the orders. Their form on real servers is
shown by `tests/lake/commands/test_drift.py`.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from streams.model.change import Change, Malformed, change_decoder
from streams.model.order import OrderColumns
from tests.support.builders import created, order_row
from tests.support.lake.drifting_tables import CHANGES, GOES_ON, STOPS, WARNS
from tests.support.lake.drifting_tables import Change as TableChange

BEFORE: Final = order_row()
AFTER: Final[dict[str, dict[str, Any] | None]] = {
    "nullable_added": BEFORE | {"extra": None},
    "required_added": BEFORE | {"extra": 7},
    "nullable_dropped": {name: value for name, value in BEFORE.items() if name != "store_id"},
    "required_dropped": {name: value for name, value in BEFORE.items() if name != "num_products"},
    "nullable_renamed": {name.replace("store_id", "shop_id"): value for name, value in BEFORE.items()},
    "required_renamed": {name.replace("num_products", "products"): value for name, value in BEFORE.items()},
    "number_widened": BEFORE | {"customer_id": 5_000_000_000},
    "text_widened": BEFORE | {"id": "x" * 200},
    "scale_raised": BEFORE | {"amount": "10.1234"},
    "scale_lowered": BEFORE | {"amount": "10.1"},
    "choice_added": BEFORE | {"state": "late"},
    "table_renamed": None,
}
"""A row of `orders` after each change; None: none arrives. Amounts and states are columns that it does not read."""


def verdict(change: TableChange) -> str:
    if change.table == "truncated":
        value = json.dumps(json.loads(created(BEFORE)) | {"op": "t", "after": None}).encode()
        found = change_decoder(OrderColumns, key_of=lambda row: row.id)(None, value)
    else:
        row = AFTER[change.table]
        if row is None:
            return STOPS
        found = change_decoder(OrderColumns, key_of=lambda row: row.id)(row["id"].encode(), created(row))
    if isinstance(found, Malformed):
        return WARNS
    assert isinstance(found, Change)
    return GOES_ON


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.table)
def test_the_orders_go_on_or_become_dead_letters(change: TableChange) -> None:
    assert verdict(change) == change.cells[0]
