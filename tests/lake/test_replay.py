"""Goal: a replay brings in what the rules allow by now and nothing else, and never goes back to an older version.

Method: a lake in a folder whose quarantine has rows; the rules are changed between run and replay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyspark.sql import SparkSession

from batch.context import LayerResult
from batch.delta.table import LakeTable
from batch.errors import BatchError
from batch.quarantine import _ONE_AT_A_TIME, quarantine, quarantine_table
from batch.silver.replay import refined, replayed
from config.dataset import load_definition
from config.definition import Definition, Range, Reference, Table
from tests.lake.lake import Change, LocalLake
from tests.lake.shop_changes import line, order

SHOP = load_definition("project_db")


def lines_under(*rules: Any) -> Definition:
    """The shop with these rules for the lines of orders."""

    def changed(table: Table) -> Table:
        return msgspec.structs.replace(table, rules=rules) if table.name == "order_details" else table

    return msgspec.structs.replace(SHOP, tables=tuple(map(changed, SHOP.tables)))


def by_sequence(definition: Definition) -> Definition:
    """The definition with a key column of the lines that has the name of one of Silver's own but for `_`."""

    def named(table: Table) -> Table:
        if table.name != "order_details":
            return table
        columns = [msgspec.structs.replace(c, name="sequence") if c.name == "product_id" else c for c in table.columns]
        return msgspec.structs.replace(table, key=("order_id", "sequence"), columns=tuple(columns))

    return msgspec.structs.replace(definition, tables=tuple(map(named, definition.tables)))


STRICT = lines_under(Range(column="quantity", min=1, action="quarantine"))
LENIENT = lines_under(Range(column="quantity", min=0, action="quarantine"))


@pytest.fixture(scope="module")
def filled(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> LocalLake:
    """Four lines of an order, three of them refused; of product 3 there is a newer, good version."""
    lake = LocalLake(spark, tmp_path_factory.mktemp("filled"), STRICT)
    lake.land([line("a", 1, 1), line("a", 2, 2, quantity=0), line("a", 3, 3, quantity=0), line("a", 3, 4, quantity=7)])
    lake.land([line("a", 4, 5, quantity="x")])
    lake.refine("order_details")
    assert quantities(lake) == {(1, 1), (3, 7)}
    return lake


@pytest.fixture
def lake(filled: LocalLake, tmp_path: Path) -> LocalLake:
    """A copy of it."""
    return filled.copied(tmp_path / "lake")


def quantities(lake: LocalLake) -> set[tuple[Any, ...]]:
    return lake.live("order_details", "product_id", "quantity")


def left(lake: LocalLake) -> list[tuple[str, str]]:
    return [(row["rule"], row["_origin"]) for row in lake.quarantined()]


def under(lake: LocalLake, definition: Definition) -> LocalLake:
    """The same lake after a change of the definition."""
    return LocalLake(lake.spark, lake.folder, definition)


def lines_of(lake: LocalLake) -> Table:
    return lake.definition.table("order_details")


def test_without_a_change_of_the_rules_nothing_comes_in(lake: LocalLake) -> None:
    before = left(lake)
    result = replayed(lines_of(lake), lake.context())
    assert (result.rows_in, result.rows_written) == (3, 0)
    assert result.rejected == {"range(quantity)": 2, "type(quantity)": 1}
    assert left(lake) == before


def test_rows_that_pass_come_in_but_not_over_newer_ones(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    lenient = under(lake, LENIENT)
    merge, alone = LakeTable.merge, dict[str, bool]()

    def merged(table: LakeTable, *args: Any, **more: Any) -> Any:
        alone[table.name] = _ONE_AT_A_TIME.locked()
        return merge(table, *args, **more)

    monkeypatch.setattr(LakeTable, "merge", merged)
    result = replayed(lines_of(lenient), lenient.context())
    assert alone == {"silver/order_details": False, "silver/quarantine": True}, "all tables share the quarantine"
    assert quantities(lenient) == {(1, 1), (2, 0), (3, 7)}
    assert (result.rows_in, result.rows_written, result.rejected) == (3, 1, {"type(quantity)": 1})
    assert left(lenient) == [("type(quantity)", "t/0/5")]
    assert result.note == "2 entries removed from the quarantine"


def test_the_next_run_goes_on_and_a_second_replay_finds_nothing(lake: LocalLake) -> None:
    lenient = under(lake, lines_under())
    replayed(lines_of(lenient), lenient.context())
    assert lenient.refine("order_details")["order_details"].is_unchanged
    lenient.land([line("a", 2, 6, "d")])
    lenient.refine("order_details")
    assert quantities(lenient) == {(1, 1), (3, 7)}
    assert replayed(lines_of(lenient), lenient.context()).rows_written == 0


def test_what_the_source_has_deleted_stays_deleted_without_its_tombstone(lake: LocalLake) -> None:
    lake.land([line("a", 2, 6, "d"), line("a", 3, 7, "d"), line("a", 3, 8, quantity="x")])
    lake.refine("order_details")
    lake.context().table("silver", "order_details").remove("_deleted", run_id="maintain")
    lenient = under(lake, LENIENT)
    assert replayed(lines_of(lenient), lenient.context()).rows_written == 0
    assert quantities(lenient) == {(1, 1)}
    assert {rule for rule, _ in left(lenient)} == {"type(quantity)"}


def test_a_deleted_row_that_broke_a_failing_rule_stops_no_replay(spark: SparkSession, tmp_path: Path) -> None:
    lake = LocalLake(spark, tmp_path, lines_under(Range(column="quantity", min=1, action="fail")))
    lake.land([line("a", 1, 1, quantity=0), line("a", 1, 2, "d"), line("a", 2, 3)])
    lake.refine("order_details")
    lake.context().table("silver", "order_details").remove("_deleted", run_id="maintain")
    assert replayed(lines_of(lake), lake.context()).rejected == {"range(quantity)": 1}
    assert (quantities(lake), left(lake)) == ({(2, 1)}, [("range(quantity)", "t/0/1")])


def test_a_row_whose_parent_comes_later_leaves_the_quarantine_by_itself(spark: SparkSession, tmp_path: Path) -> None:
    rule = Reference(column="order_id", table="orders", action="quarantine")
    definition = by_sequence(lines_under(rule, Range(column="quantity", min=1, action="quarantine")))
    lake = LocalLake(spark, tmp_path, definition)

    def line(order_id: str, number: int, at: int, *, quantity: int = 1) -> Change:
        return Change("order_details", at, {"order_id": order_id, "sequence": number, "quantity": quantity})

    def run(*changes: Change) -> LayerResult:
        lake.land(changes, every=True)
        return [refined(lake.definition.table(name), lake.context()) for name in ("orders", "order_details")][-1]

    assert run(line("a", 1, 1), line("a", 2, 2, quantity=0), line("b", 1, 3)).rows_written == 0
    result = run(order("a", 4))
    assert (result.rows_written, result.note) == (1, "quarantined rows that are right now: 1")
    assert lake.live("order_details", "order_id", "sequence") == {("a", 1)}
    assert left(lake) == [
        ("range(quantity)", "t/0/2"),
        ("reference(order_id)", "t/0/2"),
        ("reference(order_id)", "t/0/3"),
    ]
    assert run(order("c", 5)).rows_written == 0


def test_rows_that_were_read_in_one_go_are_told_apart_by_their_keys(spark: SparkSession, tmp_path: Path) -> None:
    lake = LocalLake(spark, tmp_path, STRICT)
    lake.land([line("a", product, 1, quantity=quantity) for product, quantity in ((1, 0), (2, -1), (3, 0))])
    lake.refine("order_details")
    lenient = under(lake, LENIENT)
    assert replayed(lines_of(lenient), lenient.context()).rows_written == 2
    assert quantities(lenient) == {(1, 0), (3, 0)}
    assert [row["key"] for row in lenient.quarantined()] == ['{"order_id":"a","product_id":"2"}']


@pytest.mark.nightly
def test_a_replay_that_was_killed_is_repeated(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    lenient = under(lake, LENIENT)
    merge = LakeTable.merge

    def killed(table: LakeTable, *args: Any, **more: Any) -> Any:
        if table.name == "silver/quarantine":
            raise KeyboardInterrupt
        return merge(table, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(LakeTable, "merge", killed)
        with pytest.raises(KeyboardInterrupt):
            replayed(lines_of(lenient), lenient.context())
    assert quantities(lenient) == {(1, 1), (2, 0), (3, 7)}
    assert len(left(lenient)) == 3
    assert replayed(lines_of(lenient), lenient.context()).rows_written == 0
    assert quantities(lenient) == {(1, 1), (2, 0), (3, 7)}
    assert left(lenient) == [("type(quantity)", "t/0/5")]


def test_what_was_never_a_row_stays(lake: LocalLake) -> None:
    columns = "table STRING, key STRING, rule STRING, action STRING, row STRING, _sequence STRING, _origin STRING"
    record = ("order_details", '{"key":"k"}', "unreadable", "quarantine", '{"reason":"is no JSON"}', None, "t/0/9")
    quarantine(lake.spark.createDataFrame([record], columns), lake.context())
    lenient = under(lake, lines_under())
    replayed(lines_of(lenient), lenient.context())
    assert ("unreadable", "t/0/9") in left(lenient)
    assert quarantine_table(lenient.context()).exists()


def test_a_table_of_other_columns_has_to_be_run_first(lake: LocalLake) -> None:
    table = lines_of(lake)
    other = msgspec.structs.replace(table, columns=table.columns[:-1], rules=())
    with pytest.raises(BatchError, match="millrace lake run") as raised:
        replayed(other, lake.context())
    assert (raised.value.layer, raised.value.table) == ("silver", "order_details")


def test_without_a_quarantine_there_is_nothing_to_do(spark: SparkSession, tmp_path: Path) -> None:
    lake = LocalLake(spark, tmp_path, SHOP)
    assert replayed(SHOP.table("orders"), lake.context()).is_unchanged
