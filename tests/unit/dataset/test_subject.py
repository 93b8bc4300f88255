"""Goal: whose data a table holds, and in which columns, is said once and without contradiction.

Method: the shop's tables with one thing changed; the faults are read.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from config.contradictions import subject_faults
from config.dataset import load_definition
from config.definition import Table

SHOP = load_definition("project_db")
CUSTOMERS, LINES = SHOP.table("customers"), SHOP.table("order_details")


def changed(table: Table, personal: tuple[str, ...], **values: Any) -> Table:
    """A table of which these columns are personal."""
    columns = tuple(msgspec.structs.replace(column, personal=column.name in personal) for column in table.columns)
    return msgspec.structs.replace(table, columns=columns, **values)


def referring(table: Table, name: str) -> Table:
    """A table of which a column refers to a person."""
    columns = tuple(msgspec.structs.replace(c, subject="customer" if c.name == name else None) for c in table.columns)
    return msgspec.structs.replace(table, columns=columns)


def test_a_table_that_refers_to_persons_may_have_personal_columns() -> None:
    lines = referring(changed(LINES, ("quantity",)), "product_id")
    assert list(subject_faults([CUSTOMERS, lines])) == []


def test_the_shops_customers_are_persons() -> None:
    assert [table.name for table in SHOP.tables if table.subject == "customer"] == ["customers"]
    assert [column.name for column in CUSTOMERS.columns if column.personal] == ["name", "email", "phone"]
    assert list(subject_faults(SHOP.tables)) == []


@pytest.mark.parametrize(
    ("tables", "fault"),
    [
        ([changed(CUSTOMERS, ())], "tables[0].subject: none of the columns is personal"),
        ([changed(CUSTOMERS, ("id", "name"))], "tables[0].columns: 'id' is part of the key, which is never erased"),
        (
            [changed(CUSTOMERS, ("email",), subject=None)],
            "tables[0].columns: 'email' can't be personal: the table has no subject",
        ),
        (
            [changed(LINES, ("quantity",), subject="customer")],
            "tables[0].subject: needs a key of exactly one column, which identifies the person",
        ),
        (
            [CUSTOMERS, msgspec.structs.replace(CUSTOMERS, name="people")],
            "tables[1].subject: 'customer' is already the subject of table 'customers'",
        ),
        (
            [referring(LINES, "quantity")],
            "tables[0].columns: 'quantity' has the subject 'customer', which no table has",
        ),
        (
            [referring(CUSTOMERS, "tier")],
            "tables[0].columns: 'tier' can't have a subject: the rows of the table are persons themselves",
        ),
    ],
)
def test_a_contradiction_is_named(tables: list[Table], fault: str) -> None:
    assert list(subject_faults(tables)) == [fault]
