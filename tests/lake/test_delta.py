"""Goal: rows and progress are committed together, once, and a write that did not happen is never taken for one.

Method: real Delta tables in temporary folders; a second `LakeTable` object on the same path plays the second run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from batch.delta.commits import Written
from batch.delta.table import CHANGE_FEED, DELETION_VECTORS, LakeTable
from batch.errors import BatchError
from tests.support.lake.frames import small_frame


@pytest.fixture
def table(spark: SparkSession, tmp_path: Path) -> LakeTable:
    return LakeTable(spark, f"file://{tmp_path}/numbers", "silver/numbers")


def again(spark: SparkSession, table: LakeTable) -> LakeTable:
    return LakeTable(spark, table.path, table.name)


def numbers(spark: SparkSession, *rows: tuple[int, str]) -> DataFrame:
    return small_frame(spark, rows, "id INT, text STRING")


def content(table: LakeTable) -> set[tuple[int, str]]:
    return {(row["id"], row["text"]) for row in table.read().collect()}


def test_a_table_that_is_not_there_has_no_progress_and_no_version(table: LakeTable) -> None:
    assert not table.exists()
    assert (table.version(), table.progress(), table.property("millrace.feed")) == (-1, {}, None)
    assert table.changed_since(0) is None


def test_rows_progress_and_properties_come_back(spark: SparkSession, table: LakeTable) -> None:
    written = table.append(
        numbers(spark, (1, "a"), (2, "b")),
        run_id="r1",
        progress={"topic/0": 17},
        partition_by=["id"],
        properties={"millrace.feed": "changes", **CHANGE_FEED},
    )
    assert (written.rows_in, written.rows_inserted) == (2, 2)
    second = again(spark, table)
    assert second.progress() == {"topic/0": 17}
    assert second.version() == written.version
    assert second.property("millrace.feed") == "changes"
    assert content(second) == {(1, "a"), (2, "b")}
    assert DeltaTable.forPath(spark, table.path).detail().first()["partitionColumns"] == ["id"]  # type: ignore[index]


def test_the_progress_is_of_the_newest_commit_that_has_one(spark: SparkSession, table: LakeTable) -> None:
    table.append(numbers(spark, (1, "a")), run_id="r1", progress={"done": 1})
    table.append(numbers(spark, (2, "b")), run_id="r2", progress={"done": 2})
    DeltaTable.forPath(spark, table.path).optimize().executeCompaction()
    assert again(spark, table).progress() == {"done": 2}
    with table.noting("m1"):
        DeltaTable.forPath(spark, table.path).delete("id = 1")
    assert again(spark, table).progress() == {"done": 2}


def test_an_older_version_can_be_read(spark: SparkSession, table: LakeTable) -> None:
    first = table.append(numbers(spark, (1, "a")), run_id="r1", progress={})
    table.replace(numbers(spark, (2, "b")), run_id="r2", progress={})
    assert {row["id"] for row in table.read(first.version).collect()} == {1}
    assert content(table) == {(2, "b")}


def test_of_two_runs_that_continue_from_the_same_progress_the_second_writes_nothing(
    spark: SparkSession, table: LakeTable
) -> None:
    table.append(numbers(spark, (1, "a")), run_id="r1", progress={"done": 1})
    one, other = again(spark, table), again(spark, table)
    assert one.progress() == other.progress()
    one.append(numbers(spark, (2, "b")), run_id="r2", progress={"done": 2})
    row = numbers(spark, (9, "z"))
    writes: list[Callable[[], Written]] = [
        lambda: other.append(row, run_id="r3", progress={"done": 2}),
        lambda: other.replace(row, run_id="r3", progress={"done": 2}),
        lambda: other.merge(row, on="t.id = s.id", set_when=None, run_id="r3", progress={}),
    ]
    for write in writes:
        with pytest.raises(BatchError, match="silver/numbers: another run wrote"):
            write()
    assert content(table) == {(1, "a"), (2, "b")}
    assert again(spark, table).progress() == {"done": 2}


def test_a_run_can_write_the_same_table_twice(spark: SparkSession, table: LakeTable) -> None:
    table.progress()
    for number in range(3):
        table.append(numbers(spark, (number, "a")), run_id="r1", progress={"done": number})
    assert len(content(table)) == 3


def test_compaction_between_reading_the_progress_and_writing_is_no_conflict(
    spark: SparkSession, table: LakeTable
) -> None:
    for number in range(3):
        table.append(numbers(spark, (number, "a")), run_id="r1", progress={"done": number})
    later = again(spark, table)
    later.progress()
    DeltaTable.forPath(spark, table.path).optimize().executeCompaction()
    later.append(numbers(spark, (3, "a")), run_id="r2", progress={"done": 3})
    assert len(content(table)) == 4


def test_a_merge_counts_what_it_did(spark: SparkSession, table: LakeTable) -> None:
    table.append(
        numbers(spark, (1, "a"), (2, "b"), (3, "c")),
        run_id="r1",
        progress={},
        properties={**CHANGE_FEED, **DELETION_VECTORS},
    )
    written = table.merge(
        numbers(spark, (1, "a"), (2, "new"), (3, "gone"), (4, "d"), (5, "unwanted")),
        on="t.id = s.id",
        set_when="t.text <> s.text",
        insert_when="s.text <> 'unwanted'",
        delete_when="s.text = 'gone'",
        run_id="r2",
        progress={"bronze": 7},
    )
    assert (written.rows_in, written.rows_inserted, written.rows_updated, written.rows_deleted) == (5, 1, 1, 1)
    assert written.rows_written == 3
    assert content(table) == {(1, "a"), (2, "new"), (4, "d")}
    assert again(spark, table).progress() == {"bronze": 7}


def test_a_merge_makes_the_table_and_can_add_columns(spark: SparkSession, table: LakeTable) -> None:
    table.merge(numbers(spark, (1, "a")), on="t.id = s.id", set_when=None, run_id="r1", progress={})
    wider = small_frame(spark, [(1, "b", 2.5)], "id INT, text STRING, more DOUBLE")
    table.merge(wider, on="t.id = s.id", set_when="true", run_id="r2", progress={})
    assert [tuple(row) for row in table.read().collect()] == [(1, "b", 2.5)]


def test_a_merge_that_changes_nothing_still_keeps_its_progress(spark: SparkSession, table: LakeTable) -> None:
    table.append(numbers(spark, (1, "a")), run_id="r1", progress={"done": 1})
    written = table.merge(
        numbers(spark, (1, "a")), on="t.id = s.id", set_when="false", run_id="r2", progress={"done": 2}
    )
    assert written.rows_written == 0
    assert again(spark, table).progress() == {"done": 2}


def test_changes_are_told_since_a_version(spark: SparkSession, table: LakeTable) -> None:
    first = table.append(numbers(spark, (1, "a"), (2, "b")), run_id="r1", progress={}, properties=CHANGE_FEED)
    table.append(numbers(spark, (3, "c")), run_id="r2", progress={})
    table.merge(numbers(spark, (1, "z")), on="t.id = s.id", set_when="true", run_id="r3", progress={})
    changes = table.changed_since(first.version)
    assert changes is not None
    found = {(row["id"], row["text"], row["_change_type"]) for row in changes.frame.collect()}
    assert found == {(3, "c", "insert"), (1, "a", "update_preimage"), (1, "z", "update_postimage")}


def test_without_newer_commits_there_are_no_changes(spark: SparkSession, table: LakeTable) -> None:
    written = table.append(numbers(spark, (1, "a")), run_id="r1", progress={}, properties=CHANGE_FEED)
    changes = table.changed_since(written.version)
    assert changes is not None
    assert changes.frame.collect() == []


def test_changes_since_a_column_had_another_type_are_none(spark: SparkSession, table: LakeTable) -> None:
    large = small_frame(spark, [(1, 5_000_000_000)], "id INT, text BIGINT")
    first = table.append(large, run_id="r1", progress={}, properties=CHANGE_FEED)
    second = table.replace(small_frame(spark, [(1, 7)], "id INT, text INT"), run_id="r2", progress={})
    assert table.changed_since(first.version) is None
    table.append(small_frame(spark, [(2, 8, "c")], "id INT, text INT, more STRING"), run_id="r3", progress={})
    changes = table.changed_since(second.version)
    assert changes is not None
    assert [(row["id"], row["more"]) for row in changes.frame.collect()] == [(2, "c")]


@pytest.mark.nightly  # test_gold loses a feed on every push
def test_changes_that_were_not_kept_or_are_gone_are_none(spark: SparkSession, table: LakeTable) -> None:
    first = table.append(numbers(spark, (1, "a")), run_id="r1", progress={})
    assert table.changed_since(first.version - 1) is None
    table.replace(numbers(spark, (1, "a")), run_id="r1", progress={}, properties=CHANGE_FEED)
    spark.sql(f"ALTER TABLE delta.`{table.path}` SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')")
    start = table.version()
    table.merge(numbers(spark, (1, "b")), on="t.id = s.id", set_when="true", run_id="r2", progress={})
    assert table.changed_since(start) is not None
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    try:
        table.merge(numbers(spark, (1, "c")), on="t.id = s.id", set_when="true", run_id="r3", progress={})
        DeltaTable.forPath(spark, table.path).vacuum(0)
    finally:
        spark.conf.unset("spark.databricks.delta.retentionDurationCheck.enabled")
    assert table.changed_since(start) is None


def test_a_column_of_another_type_is_refused(spark: SparkSession, table: LakeTable) -> None:
    table.append(numbers(spark, (1, "a")), run_id="r1", progress={})
    with pytest.raises(Exception, match=r"DELTA_FAILED_TO_MERGE_FIELDS|DELTA_MERGE_INCOMPATIBLE_DATATYPE"):
        table.append(small_frame(spark, [("x", "a")], "id STRING, text STRING"), run_id="r2", progress={})
    assert content(table) == {(1, "a")}
