"""Goal: the bounds of a window are obeyed or refused, and a run says which transaction holds its windows back.

Method: parsed arguments, and anchors made by hand; no server, no Spark.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from batch.__main__ import parser
from batch.bronze.progress import anchor
from batch.bronze.windows import Anchor, Window
from batch.commands.run import _check_window
from batch.errors import BatchError
from batch.storage.canonical import time_text
from config.dataset import load_definition
from config.definition import Definition

SHOP = load_definition("project_db")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def with_windows(*names: str) -> Definition:
    """The shop, some of its tables read by JDBC."""
    tables = (msgspec.structs.replace(t, feed="jdbc") if t.name in names else t for t in SHOP.tables)
    return msgspec.structs.replace(SHOP, tables=tuple(tables))


def check(definition: Definition, *more: str) -> None:
    _check_window(definition, parser().parse_args(["run", "--since", "2025-01-01", *more]))


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ([], "payment_method, order_details"),
        (["--table", "payment_method"], "payment_method"),
        (["--table", "order_details"], "order_details"),
        (["--table", "fact_orders"], "fact_orders"),
        (["--layer", "silver", "--table", "orders"], "orders"),
    ],
)
def test_bounds_that_a_table_would_not_obey_are_refused(more: list[str], named: str) -> None:
    with pytest.raises(BatchError, match=f"not to .*{named}"):
        check(with_windows("orders", "customers", "order_details"), *more)


def test_tables_with_windows_take_bounds() -> None:
    check(with_windows("orders"), "--table", "orders")


def test_a_transaction_that_is_open_for_long_is_reported() -> None:
    def note(open_s: float) -> str:
        return Anchor(at=NOON, now=NOON, open_s=open_s).note

    assert note(3) == ""
    assert note(3_600) == ("read up to 2026-11-21 12:00:00Z, held back by a transaction that is open for 3,600 s")


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("former", "start", "end", "expected"),
    [
        (None, None, NOON, NOON),
        (NOON, NOON - HOUR, NOON + HOUR, NOON + HOUR),
        (NOON, NOON, NOON + HOUR, NOON + HOUR),
        (NOON, NOON - 2 * HOUR, NOON - HOUR, NOON),
        (NOON, None, NOON - HOUR, NOON),
        # --since behind the former anchor, or in a first run: nobody has read what is before.
        (NOON, NOON + HOUR, NOON + 2 * HOUR, NOON),
        (None, NOON, NOON + HOUR, None),
    ],
)
def test_the_anchor_moves_only_over_what_was_read(
    former: datetime | None, start: datetime | None, end: datetime, expected: datetime | None
) -> None:
    done = {} if former is None else {"anchor": time_text(former)}
    window = Window(start=start, end=end, sequence=1, anchor=Anchor(at=end, now=end, open_s=0))
    assert anchor(window.progress(done)) == ("" if expected is None else time_text(expected))
