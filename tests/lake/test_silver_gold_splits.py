"""Goal: in how many runs a history of changes arrives, in which order and how often, makes no difference.

Method: random histories of the shop's tables (seeds are in the failure's text), with deletes, rows that come back and
values that a rule refuses. One lake gets all in one run, by queries as over much data; another gets them shuffled,
spread over runs, some twice, by queries as over little data. Both are compared with each other, and Silver with an
oracle. Many cases share the frames, each with keys of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from config.dataset import load_definition
from tests.lake.lake import Change, LocalLake
from tests.lake.shop_changes import customer, line, order

SHOP = load_definition("project_db")
CASES, RUNS = 40, 2
GOLD = ["dim_customer", "fact_order_products"]
SILVER = ["customers", "orders", "order_details"]  # what they show


def history(rng: random.Random, case: int) -> list[Change]:
    """Changes of a few rows, in the order of the log; `case` makes their keys and places its own."""
    found: list[Change] = []
    for step in range(rng.randint(1, 14)):
        at = case * 1_000 + step
        op = rng.choice(["c", "u", "u", "r", "d"])
        who = case * 10 + rng.randint(1, 2)
        id_ = f"order-{case}-{rng.randint(1, 2)}"
        kind = rng.randrange(3)
        if kind == 0:
            found.append(customer(who, at, op, tier=rng.choice(["gold", "silver"])))
        elif kind == 1:
            day = f"202{rng.randint(4, 6)}-0{rng.randint(1, 3)}-11 10:00:00"
            whose = rng.choice([who, None])
            products = rng.choice([0, 1, 2, 2])
            found.append(order(id_, at, op, customer_id=whose, num_products=products, timestamp=day))
        else:
            quantity = rng.choice([0, 1, 2, "x"])
            found.append(line(id_, case * 10 + rng.randint(1, 2), at, op, quantity=quantity))
    return found


def is_good(change: Change) -> bool:
    """Whether no rule refuses it."""
    if change.op == "d":
        return True
    if change.table == "orders":
        return bool(change.row["num_products"] >= 1)
    return change.table != "order_details" or change.row["quantity"] in (1, 2)


def expected(changes: Iterable[Change], table: str) -> set[tuple[Any, ...]]:
    """Live rows: of each key the newest good version, if it is no delete."""
    key = SHOP.table(table).key
    newest: dict[tuple[Any, ...], Change] = {}
    for change in sorted(changes, key=lambda change: change.at):
        if change.table == table and is_good(change):
            newest[tuple(change.row[name] for name in key)] = change
    names = SHOP.table(table).column_names
    return {tuple(_text(each.row[name]) for name in names) for each in newest.values() if each.op != "d"}


def _text(value: Any) -> str | None:
    return None if value is None else str(value).removesuffix(".000001")


@pytest.mark.parametrize("seed", [1])
def test_any_split_of_a_history_into_runs_gives_the_same(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311
    changes = [change for case in range(1, CASES + 1) for change in history(rng, case)]
    whole = LocalLake(spark, tmp_path / "whole", SHOP)
    split = LocalLake(spark, tmp_path / "split", SHOP)
    runs: list[list[Change]] = [[] for _ in range(RUNS)]
    for change in changes:
        for _ in range(rng.choice([1, 1, 2])):
            rng.choice(runs).append(change)
    with monkeypatch.context() as whatever_its_size:
        whatever_its_size.setattr("batch.delta.sizes.SMALL_TABLES_BYTES_MAX", -1)
        whole.run(changes, only=GOLD)
    for run in runs:
        rng.shuffle(run)
        split.run(run, only=GOLD)
    for table in map(SHOP.table, SILVER):
        rows = {tuple(map(_text, row)) for row in split.live(table.name)}
        assert rows == expected(changes, table.name), (seed, table.name)
        meta = (*table.key, "_sequence", "_deleted")
        assert split.stored(table.name, *meta) == whole.stored(table.name, *meta), (seed, table.name)
    refused = {(row["table"], row["key"], row["rule"], row["_sequence"]) for row in split.quarantined()}
    assert len(refused) == len(split.quarantined()) == len(whole.quarantined())
    assert {name: split.gold(name) for name in GOLD} == {name: whole.gold(name) for name in GOLD}, seed
