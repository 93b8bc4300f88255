"""Goal: a dimension tells what its members were at any time, of each history type, however the versions are delivered.

Method: versions of customers in a folder's lake, under the shop's definition with another history type. Periods are
written out, or worked out anew in plain Python; a lake that gets the versions in parts is held against one that gets
all of them at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyspark.sql import SparkSession

from batch import gold
from batch.delta.table import LakeTable
from batch.silver.replay import replayed
from config.dataset import load_definition
from config.definition import Definition
from tests.lake.lake import STARTED, Change, LocalLake
from tests.lake.shop_changes import customer, line, order, payment_method, shop_with

SHOP = load_definition("project_db")
BEGAN = STARTED.replace(tzinfo=None)
FACTS = ["dim_customer", "fact_orders", "fact_order_products"]


def at(minute: int) -> datetime:
    """A time of the source's commits, as Spark gives it back."""
    return BEGAN + timedelta(minutes=minute)


def tiers(lake: LocalLake, table: str = "dim_customer") -> list[tuple[Any, ...]]:
    """Customers, their tiers and when these held, in order."""
    rows = lake.gold(table, "customer_id", "tier", "valid_from", "valid_to", "is_current")
    return sorted((row for row in rows if row[0] != -1), key=lambda row: (row[0], row[2] or datetime.min))


@pytest.fixture(scope="module")
def type_2(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> LocalLake:
    """A lake that three runs have filled."""
    lake = LocalLake(spark, tmp_path_factory.mktemp("type2"), shop_with(2))
    lake.run(
        [
            customer(1, 10, "c", tier="basic"),
            customer(2, 11, "c", tier="basic"),
            customer(3, 12, "c", tier="basic"),
            payment_method(2, 12),
            order("a", 20, timestamp=str(at(15))),
            order("old", 21, timestamp="2025-01-01 00:00:00"),
            order("later", 22, timestamp=str(at(45))),
            order("stray", 23, customer_id=7),
            order("before", 24, customer_id=3, timestamp=str(at(20))),
            line("a", 5, 25),
        ],
        only=FACTS,
    )
    gone = [customer(2, 41, "d"), customer(3, 42, "d"), order("after", 43, customer_id=3, timestamp=str(at(50)))]
    lake.run([customer(1, 40, tier="gold"), *gone], only=FACTS)
    lake.run([customer(1, 30, tier="silver"), customer(1, 50, tier="gold"), customer(2, 60, tier="back")], only=FACTS)
    return lake


def test_each_state_of_a_member_has_a_row_with_its_time(type_2: LocalLake) -> None:
    assert tiers(type_2) == [
        (1, "basic", at(10), at(30), False),
        (1, "silver", at(30), at(40), False),  # came after the next one, and was put in its place
        (1, "gold", at(40), None, True),  # said twice, which is one state
        (2, "basic", at(11), at(41), False),
        (2, "back", at(60), None, True),
        (3, "basic", at(12), at(42), False),
        (3, None, at(42), None, True),  # deleted and still referred to: inferred from then on
        (7, None, None, None, True),
    ]


def test_a_fact_names_the_version_of_its_time(type_2: LocalLake) -> None:
    named = {row[0]: row[1] for row in type_2.gold("fact_orders", "order_id", "customer_sk")}
    versions = {(row[0], row[1]): row[2] for row in type_2.gold("dim_customer", "customer_id", "tier", "customer_sk")}
    assert len({*versions.values()}) == len(versions)
    assert named == {
        "a": versions[1, "basic"],
        "old": versions[1, "basic"],  # older than all that is known of the customer
        "later": versions[1, "gold"],
        "stray": versions[7, None],
        "before": versions[3, "basic"],
        "after": versions[3, None],
    }
    assert type_2.gold("fact_order_products", "order_id", "customer_sk") == {("a", versions[1, "basic"])}
    assert versions[-1, None] == -1


def test_versions_that_a_killed_run_has_kept_are_published_by_the_next_one(
    type_2: LocalLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    lake = type_2.copied(tmp_path / "lake")
    history = lake.context().table("silver", "customers_history")
    before = history.version()
    lake.land([customer(1, 70, tier="killed")])
    with monkeypatch.context() as patched:
        patched.setattr(LakeTable, "merge", die)
        with pytest.raises(KeyboardInterrupt):
            lake.refine("customers")
    assert history.version() == before + 1
    for is_unchanged in (False, True):  # another run may be killed before its manifest
        result = lake.refine("customers")["customers"]
        kept = [(each.table, each.version, each.is_unchanged) for each in result.also_written]
        assert (result.is_unchanged, kept) == (is_unchanged, [("customers_history", before + 1, True)])


@pytest.mark.nightly  # type 2 and the random deliveries below are on every push
def test_type_4_keeps_the_newest_state_and_the_versions_beside_it(spark: SparkSession, tmp_path: Path) -> None:
    lake = LocalLake(spark, tmp_path, shop_with(4))
    both = ["dim_customer", "dim_customer_history"]
    lake.run([customer(1, 10, "c", tier="basic"), order("a", 11, customer_id=7)], only=both)
    lake.run([customer(1, 20, tier="gold")], only=both)
    assert lake.gold("dim_customer", "customer_id", "tier", "is_inferred") == {
        (-1, None, False),
        (1, "gold", False),
        (7, None, True),
    }
    assert tiers(lake, "dim_customer_history") == [(1, "basic", at(10), at(20), False), (1, "gold", at(20), None, True)]


@pytest.mark.nightly  # one table of a definition in transition
def test_another_history_type_takes_the_versions_from_bronze(spark: SparkSession, tmp_path: Path) -> None:
    some = ["dim_customer", "fact_orders"]
    plain, lake = LocalLake(spark, tmp_path, SHOP), LocalLake(spark, tmp_path, shop_with(2))
    plain.land(
        [customer(1, 10, "c", tier="basic"), order("a", 11, timestamp=str(at(15))), order("b", 12, customer_id=7)]
    )
    plain.run([customer(1, 20, tier="gold")], only=some)
    columns = ("customer_id", "name", "tier", "is_inferred")
    newest = plain.gold("dim_customer", *columns)
    lake.run(only=some)
    assert tiers(lake)[:2] == [(1, "basic", at(10), at(20), False), (1, "gold", at(20), None, True)]
    assert {row[:-1] for row in lake.gold("dim_customer", *columns, "is_current") if row[-1]} == newest
    assert "customer_sk" in spark.read.format("delta").load(f"{tmp_path}/gold/facts/fact_orders").columns
    plain.run(only=some)
    assert plain.gold("dim_customer", *columns) == newest
    assert "customer_sk" not in spark.read.format("delta").load(f"{tmp_path}/gold/facts/fact_orders").columns


@pytest.mark.nightly  # test_replay replays quarantined rows on every push
def test_a_version_that_left_the_quarantine_is_in_the_history(spark: SparkSession, tmp_path: Path) -> None:
    strict = msgspec.json.decode(msgspec.json.encode(shop_with(2).table("customers").rules), type=list[dict[str, Any]])
    refusing = [{**rule, "action": "quarantine"} if rule["check"] == "pattern" else rule for rule in strict]

    def with_rules(rules: list[dict[str, Any]]) -> Definition:
        raw = msgspec.to_builtins(shop_with(2))
        tables = [{**table, "rules": rules} if table["name"] == "customers" else table for table in raw["tables"]]
        return msgspec.convert({**raw, "tables": tables}, Definition)

    lake = LocalLake(spark, tmp_path, with_rules(refusing))
    changes = [customer(1, 10, "c", tier="basic"), customer(1, 20, tier="silver", email="none"), customer(1, 30)]
    lake.run(changes, only=["dim_customer"])
    assert [row[1] for row in tiers(lake)] == ["basic", "gold"]
    lenient = LocalLake(spark, tmp_path, with_rules(strict))
    replayed(lenient.definition.table("customers"), lenient.context())
    lenient.build("dim_customer")
    assert [row[1] for row in tiers(lenient)] == ["basic", "silver", "gold"]


def history(rng: random.Random) -> list[Change]:
    """Versions of some customers, with deletes and returns, and orders at all times."""
    found = []
    for at_ in range(1, 150):
        who = rng.randint(1, 20)
        op = rng.choice(["u", "u", "u", "d"])
        found.append(customer(who, at_ * 3, op, tier=rng.choice(["basic", "gold"])))
        when = str(at(rng.randint(-30, 500)))
        found.append(order(f"o{rng.randint(1, 40)}", at_ * 3 + 1, customer_id=rng.randint(1, 24), timestamp=when))
    return found


def expected(changes: Iterable[Change]) -> set[tuple[Any, ...]]:
    """The periods, worked out one version after the other."""
    by_key: dict[int, list[tuple[int, str | None]]] = {}
    for change in sorted(changes, key=lambda change: change.at):
        if change.table == "customers":
            states = by_key.setdefault(change.row["id"], [(0, None)])
            state = None if change.op == "d" else change.row["tier"]
            if state != states[-1][1]:
                states.append((change.at, state))
    return {
        (key, state, at(begun), at(ended) if ended else None, not ended)
        for key, states in by_key.items()
        for (begun, state), (ended, _) in pairwise([*states, (0, None)])
        if state is not None
    }


def test_however_versions_are_delivered_the_periods_are_the_same(spark: SparkSession, tmp_path: Path) -> None:
    rng = random.Random(20261122)  # noqa: S311
    changes = history(rng)
    whole = LocalLake(spark, tmp_path / "whole", shop_with(2))
    whole.run(changes, only=FACTS)
    given = {row for row in tiers(whole) if row[1] is not None}
    assert given == expected(changes)
    parts: list[list[Change]] = [[], []]
    for change in changes:
        for part in rng.sample(parts, rng.choice([1, 1, 2])):
            part.append(change)
    split = LocalLake(spark, tmp_path / "split", shop_with(2))
    for part in parts:
        split.run(rng.sample(part, len(part)), only=FACTS)
    for name in FACTS:
        assert split.gold(name) == whole.gold(name), name


@pytest.mark.nightly
def test_a_full_run_gives_the_same_periods(spark: SparkSession, tmp_path: Path) -> None:
    lake = LocalLake(spark, tmp_path, shop_with(2))
    lake.run(history(random.Random(20261122)), only=FACTS)  # noqa: S311
    before = {name: lake.gold(name) for name in FACTS}
    lake.refine(full=True)
    lake.build(*FACTS, full=True)
    assert {name: lake.gold(name) for name in FACTS} == before


def test_the_plans_follow_the_definition() -> None:
    names = {history: [plan.name for plan in gold.plans(shop_with(history))] for history in (1, 2, 4)}
    assert names[2] == names[1]
    assert set(names[4]) - set(names[1]) == {"dim_customer_history"}
    [facts] = [plan for plan in gold.plans(shop_with(2)) if plan.name == "fact_orders"]
    assert [link.dimension for link in facts.links] == ["dim_customer"]
