"""Goal: every rule finds the rows that break it and no others, and says how many.

Method: the passes over small frames of texts, as Bronze has them; one definition that has every rule.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pyspark.sql import SparkSession

from batch.delta.rows import Rows
from batch.delta.snapshot import FrameSource
from batch.errors import BatchError
from batch.silver import refine, rules
from batch.silver.cross_row_rules import (
    has_distinct_values,
    shared_values,
    values_without,
    with_reference,
    with_unique,
)
from batch.silver.rules import Tally
from config.definition import Column, LogicalType, NotNull, Pattern, Range, Reference, Table, Unique
from tests.lake.lake import Change, bronze_rows

BY_PARENT = Reference(column="parent", table="parents", action="warn")
BY_EMAIL = Unique(columns=("email",), action="warn")
TABLE = Table(
    name="things",
    key=("id",),
    columns=(
        Column(name="id", type=LogicalType.INTEGER),
        Column(name="email", type=LogicalType.STRING, nullable=True),
        Column(name="price", type=LogicalType.DECIMAL, precision=10, scale=2),
        Column(name="is_on", type=LogicalType.BOOLEAN),
        Column(name="seen_at", type=LogicalType.TIMESTAMP),
        Column(name="parent", type=LogicalType.INTEGER),
    ),
    rules=(
        NotNull(column="email", action="fail"),
        Range(column="price", min=0.5, max=10, action="quarantine"),
        Range(column="seen_at", min=date(2000, 1, 1), max=date(2099, 12, 31), action="quarantine"),
        Pattern(column="email", pattern=r"[^@\s]+@[^@\s]+", action="warn"),
        BY_PARENT,
        BY_EMAIL,
    ),
)
GOOD = {"id": 1, "email": "a@b", "price": "1.50", "is_on": 1, "seen_at": "2025-01-01 00:00:00.000001", "parent": 7}


def thing(at: int = 1, op: str = "u", **values: Any) -> Change:
    return Change("things", at, {**GOOD, **values}, op)


def violations(spark: SparkSession, *changes: Change) -> list[list[str]]:
    rows = refine.prepared(bronze_rows(spark, TABLE, changes).frame, TABLE, "run")
    return [sorted(row[rules.VIOLATIONS]) for row in rows.collect()]


def test_values_get_their_types(spark: SparkSession) -> None:
    rows = refine.prepared(bronze_rows(spark, TABLE, [thing()]).frame, TABLE, "run")
    assert dict(rows.dtypes)["price"] == "decimal(10,2)"
    row = rows.collect()[0]
    assert (row["id"], str(row["price"]), row["is_on"], row["seen_at"].microsecond) == (1, "1.50", True, 1)
    assert (row["_deleted"], row["_row"]) == (False, None)


def test_each_rule_of_a_row_finds_its_rows(spark: SparkSession) -> None:
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, []),
        ({"id": "one"}, ["type(id)"]),
        ({"id": None}, ["not_null(id)"]),
        ({"price": "much"}, ["type(price)"]),
        ({"price": "1.505"}, ["type(price)"]),
        ({"price": "1.5000"}, []),
        ({"seen_at": "yesterday", "is_on": "perhaps"}, ["type(is_on)", "type(seen_at)"]),
        ({"price": "0.49"}, ["range(price)"]),
        ({"price": "0.50"}, []),
        ({"price": "10.01"}, ["range(price)"]),
        ({"price": None}, []),
        ({"seen_at": "1999-12-31 23:59:59.999999"}, ["range(seen_at)"]),
        ({"seen_at": "2000-01-01 00:00:00"}, []),
        ({"seen_at": "2099-12-31 23:59:59.999999"}, []),
        ({"seen_at": "9999-12-31 00:00:00"}, ["range(seen_at)"]),
        ({"seen_at": "0000-01-01 00:00:00"}, ["type(seen_at)"]),  # of no year that Python can read
        ({"seen_at": "12000-01-01 00:00:00"}, ["type(seen_at)"]),
        ({"price": "NaN"}, ["type(price)"]),
        ({"price": "Infinity"}, ["type(price)"]),
        ({"email": None}, ["not_null(email)"]),
        ({"email": "a at b"}, ["pattern(email)"]),
        ({"email": "a@b\n"}, ["pattern(email)"]),
        ({"email": "a@b@c"}, ["pattern(email)"]),
    ]
    found = violations(spark, *(thing(at, **values) for at, (values, _) in enumerate(cases)))
    assert found == [expected for _, expected in cases]


def test_of_a_delete_the_key_alone_is_judged(spark: SparkSession) -> None:
    found = violations(spark, thing(op="d", email=None, price="x"), thing(op="d", id="one"), thing(at=-1))
    assert found == [[], ["type(id)"], ["not_null(_sequence)"]]


def test_a_column_that_is_not_delivered_is_null(spark: SparkSession) -> None:
    rows = refine.prepared(bronze_rows(spark, TABLE, [thing()]).frame.drop("price", "email"), TABLE, "run")
    row = rows.collect()[0]
    assert (row["price"], row["email"], row[rules.VIOLATIONS]) == (None, None, ["not_null(email)"])


def test_rows_are_counted_by_rule_and_a_failing_rule_names_one(spark: SparkSession) -> None:
    changes = [
        thing(1),
        thing(2, id=2, email=None),
        thing(3, id=3, email=None),
        thing(4, price="0"),
        thing(5, price="99"),
    ]
    rows = refine.prepared(bronze_rows(spark, TABLE, changes).frame, TABLE, "run")
    found = rules.tally(Rows.of(rows), TABLE)
    assert (found.rows, dict(found.broken)) == (5, {"not_null(email)": 2, "range(price)": 2})
    assert found == rules.tally(Rows.of(rows).collect_if_small(), TABLE)
    with pytest.raises(BatchError, match=r'silver/things: 2 of 5 rows break not_null\(email\), .* \{"id":2\}'):
        rules.stop_if_failed(found, rows, TABLE, None)


@pytest.mark.parametrize("count", [0, 2])
def test_rows_that_break_nothing_are_counted_the_same_wherever_they_are(spark: SparkSession, count: int) -> None:
    rows = refine.prepared(bronze_rows(spark, TABLE, [thing(n, id=n) for n in range(2)]).frame, TABLE, "run").limit(
        count
    )
    here = Rows.of(rows).collect_if_small()
    assert here.count_if_known == count
    assert rules.tally(Rows.of(rows), TABLE) == rules.tally(here, TABLE) == Tally(rows=count, broken={}, examples={})


def test_rows_without_a_parent_are_found(spark: SparkSession) -> None:
    changes = [thing(1, id=1), thing(2, id=2, parent=8), thing(3, id=3, parent=None), thing(4, "d", id=4, parent=8)]
    rows = refine.prepared(bronze_rows(spark, TABLE, changes).frame, TABLE, "run")
    wanted = rows.selectExpr("parent AS _value").where("parent IS NOT NULL").distinct()
    missing = values_without(wanted, spark.createDataFrame([(7,), (9,)], "id INT"))
    found = {row["id"]: row[rules.VIOLATIONS] for row in with_reference(rows, BY_PARENT, missing).collect()}
    assert found == {1: [], 2: ["reference(parent)"], 3: [], 4: []}


def test_of_rows_with_the_same_value_all_but_the_holder_break_uniqueness(spark: SparkSession) -> None:
    changes = [
        thing(1, id=1, email="first"),
        thing(2, id=2, email="first"),
        thing(3, id=3, email="in silver"),
        thing(4, id=4, email="given up"),
        thing(5, id=4, email="another"),
        thing(6, id=5, email="given up"),
        thing(7, id=6, email=None),
        thing(8, id=7, email=None),
        thing(9, id=8, email="gone"),
        thing(10, "d", id=8, email="gone"),
        thing(11, id=9, email="gone"),
        thing(12, id=10, email="moved"),
    ]
    rows = refine.prepared(bronze_rows(spark, TABLE, changes).frame, TABLE, "run")
    old = [(20, "in silver", "0", "h", False), (9, "moved", "0", "h", False), (21, "first", "0", "h", True)]
    held = spark.createDataFrame(old, "id INT, email STRING, _sequence STRING, _row_hash STRING, _deleted BOOLEAN")
    shared = shared_values(rows, FrameSource(held), TABLE, BY_EMAIL)
    assert shared is not None
    found = with_unique(rows, TABLE, BY_EMAIL, shared).collect()
    assert sorted(row["id"] for row in found if "unique(email)" in row[rules.VIOLATIONS]) == [2, 3]


def test_values_that_are_there_once_need_no_look(spark: SparkSession) -> None:
    rows = refine.prepared(bronze_rows(spark, TABLE, [thing(1), thing(2, id=2, email="c@d")]).frame, TABLE, "run")
    assert shared_values(rows, None, TABLE, BY_EMAIL) is None


def test_rows_are_proven_distinct_by_their_hashes(spark: SparkSession) -> None:
    rows = Rows.of(spark.createDataFrame([(1, "a"), (2, "b"), (3, "a"), (4, None)], "id INT, name STRING"))
    for here in (rows, rows.collect_if_small()):
        assert here.is_proven_distinct_by(["id"])
        assert here.is_proven_distinct_by(["id", "name"])
        assert not here.is_proven_distinct_by(["name"])
    assert Rows.of(rows.frame.where("false")).is_proven_distinct_by(["name"])


def test_values_that_rows_share_are_not_distinct(spark: SparkSession) -> None:
    changes = [thing(1, email="a@b"), thing(2, id=2, email="a@b"), thing(3, "d", id=3, email="c@d")]
    changes += [thing(4 + n, id=4 + n, email=email) for n, email in enumerate(["c@d", None, None])]
    rows = refine.prepared(bronze_rows(spark, TABLE, changes).frame, TABLE, "run")
    assert not has_distinct_values(rows, BY_EMAIL)
    assert has_distinct_values(rows.where("id <> 2"), BY_EMAIL)
