"""Goal: the change between two runs is the agreed one, and two Golds have one digest only if they say the same.

Method: the statements of a small shop; tables of a few rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from bench.lake.change import Shop, Statement, statements
from bench.lake.gold import digest

SHOP = Shop(
    customers=2_000,
    recent=[f"recent-{number}" for number in range(300)],
    older=[f"older-{number}" for number in range(9_700)],
    last_day="2025-12-31",
)


def change(orders: int = 100, seed: int = 1, shop: Shop = SHOP) -> list[Statement]:
    return list(statements(shop, seed=seed, orders=orders))


def values(found: list[Statement], beginning: str) -> Iterator[object]:
    for text, given in found:
        if text.startswith(beginning):
            yield from given


def test_one_percent_of_the_customers_changes() -> None:
    ids = list(values(change(), "UPDATE customers"))
    assert len(set(ids)) == len(ids) == 20


def test_nine_of_ten_orders_are_recent_and_half_of_these_are_new() -> None:
    found = change()
    altered = [str(id_) for id_ in values(found, "UPDATE orders")]
    new = [text for text, _ in found if text.startswith("INSERT INTO orders")]
    assert len(new) == 45
    assert [sum(id_.startswith(kind) for id_ in altered) for kind in ("recent", "older")] == [45, 10]
    assert altered == list(values(found, "UPDATE order_details"))


def test_every_new_order_has_all_its_lines() -> None:
    found = change()
    orders = {given[0]: given[4] for text, given in found if text.startswith("INSERT INTO orders")}
    lines = [given[0] for text, given in found if text.startswith("INSERT INTO order_details")]
    assert {id_: lines.count(id_) for id_ in orders} == orders


def test_a_shop_with_few_recent_orders_changes_those_it_has() -> None:
    few = Shop(customers=100, recent=["recent-1"], older=["older-1"], last_day="2025-12-31")
    assert len(list(values(change(shop=few), "UPDATE orders"))) == 2


def test_many_ids_go_in_several_statements() -> None:
    shop = Shop(customers=250_000, recent=SHOP.recent, older=SHOP.older, last_day="2025-12-31")
    counts = [len(given) for text, given in change(shop=shop) if text.startswith("UPDATE customers")]
    assert counts == [1_000, 1_000, 500]


def test_the_same_seed_gives_the_same_change_and_another_one_another() -> None:
    assert change() == change()
    assert change() != change(seed=2)


ROWS = pa.table(
    {
        "customer_id": pa.array([7, -1, 9], pa.int32()),
        "name": ["Ada", None, None],
        "at": pa.array([datetime(2025, 1, 2, 3, 4, 5, 6, UTC), None, None], pa.timestamp("us", "UTC")),
        "is_inferred": [False, False, True],
    }
)


def test_a_digest_is_the_sum_over_the_rows_texts_by_column_name() -> None:
    texts = ("2025-01-02 03:04:05.000006\x1f7\x1f0\x1fAda", "\\N\x1f9\x1f1\x1f\\N")
    total = sum(int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16) for text in texts)
    found = digest("dim_customer", ROWS)
    assert (found.columns, found.rows, found.total) == (("at", "customer_id", "is_inferred", "name"), 2, total)


def test_neither_the_order_nor_the_widths_of_types_matter() -> None:
    wide = ROWS.set_column(0, "customer_id", ROWS["customer_id"].cast(pa.int64()))
    naive = wide.set_column(2, "at", wide["at"].cast(pa.timestamp("us")))
    assert digest("dim_customer", naive.take([2, 1, 0])) == digest("dim_customer", ROWS)


@pytest.mark.parametrize(
    "other",
    [
        ROWS.slice(0, 2),
        pa.concat_tables([ROWS, ROWS.slice(0, 1)]),
        ROWS.set_column(1, "name", pa.array(["Ada", None, ""])),
        ROWS.rename_columns(["customer_id", "name", "at", "is_known"]),
        ROWS.append_column("more", pa.array([1, 2, 3])),
    ],
    ids=["a row less", "a row twice", "empty instead of none", "another name", "a column more"],
)
def test_whatever_differs_gives_another_digest(other: pa.Table) -> None:
    assert digest("dim_customer", other) != digest("dim_customer", ROWS)


def test_an_empty_table_has_a_digest() -> None:
    assert digest("fact_orders", pa.table({})).rows == 0
