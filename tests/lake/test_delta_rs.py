"""Goal: few rows that are written and read in this process give the same table as Spark does, and nothing gets lost.

Method: real Delta tables in temporary folders, each asked by Spark for what delta-rs wrote, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError
from pyspark.sql import SparkSession
from pyspark.sql.types import StructField, StructType

from batch.delta import delta_rs_location, sizes
from batch.delta.delta_rs import DeltaRsError, DeltaRsTable
from batch.delta.delta_rs_location import DeltaRsLocation
from batch.delta.log import DeltaLog
from batch.delta.rows import Rows
from batch.delta.snapshot import FrameSource
from batch.delta.table import CHANGE_FEED, LakeTable
from batch.errors import BatchError
from tests.support.lake.delta_tables import NEWS, content, few, merge, rows, table_of_four, writers
from tests.support.lake.frames import small_frame


@pytest.fixture
def make(spark: SparkSession, tmp_path: Path) -> Callable[..., LakeTable]:
    """Makes tables as `delta_tables.table_of_four` does."""
    return lambda name="t": table_of_four(spark, f"file://{tmp_path}/{name}")


def test_a_merge_gives_the_table_the_counts_and_the_feed_that_spark_gives(
    spark: SparkSession, make: Callable[..., LakeTable]
) -> None:
    news = rows(spark, *NEWS, (4, "x", 2), more="Id = 4 AS _gone")
    here, by_spark = make("here"), make("spark")
    first, second = merge(here, few(news)), merge(by_spark, news)
    assert (writers(here)[-1], writers(by_spark)[-1]) == ("delta-rs", "spark")
    assert content(here) == content(by_spark)
    assert replace(first, files=0) == replace(second, files=0), "each engine chooses its own number of files"
    assert here.progress() == {"done": 1}
    feeds = [found.frame for table in (here, by_spark) if (found := table.changed_since(1)) is not None]
    names = ["Id", "text", "day", "_change_type"]
    one, other = (sorted(map(tuple, feed.select(*names).collect()), key=str) for feed in feeds)
    assert one == other
    assert {row[-1] for row in one} == {"insert", "delete", "update_preimage", "update_postimage"}


def test_rows_that_are_added_are_those_that_spark_reads(spark: SparkSession, make: Callable[..., LakeTable]) -> None:
    here, by_spark = make("here"), make("spark")
    news = rows(spark, *NEWS)
    first = here.append(few(news), run_id="r1", progress={"done": 1})
    second = by_spark.append(news, run_id="r1", progress={"done": 1})
    assert (writers(here)[-1], content(here), first) == ("delta-rs", content(by_spark), second)


def test_what_changes_nothing_leaves_its_progress(spark: SparkSession, make: Callable[..., LakeTable]) -> None:
    table = make()
    before = content(table)
    written = merge(table, few(rows(spark, (1, "a", 1), more="false AS _gone")))
    assert (written.rows_written, table.progress(), content(table)) == (0, {"done": 1}, before)
    assert table.note(run_id="r2", progress={"done": 2}).rows_written == 0
    assert (table.progress(), content(table)) == ({"done": 2}, before)


def test_of_two_runs_from_the_same_progress_the_second_writes_nothing(
    spark: SparkSession, make: Callable[..., LakeTable]
) -> None:
    table = make()
    other = LakeTable(spark, table.path, table.name)
    other.progress()
    table.append(few(rows(spark, (5, "e", 1))), run_id="r1", progress={"done": 1})
    for new in (few(rows(spark, (5, "e", 1))), rows(spark, (5, "e", 1))):
        with pytest.raises(BatchError, match="silver/t: another run wrote the same rows first"):
            other.append(new, run_id="r2", progress={"done": 1})
    assert len(content(table)) == 5


def test_a_commit_whose_answer_was_lost_is_there_once(
    spark: SparkSession, make: Callable[..., LakeTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = DeltaRsTable.append

    def answer_lost(self: DeltaRsTable, *given: Any) -> None:
        real(self, *given)
        raise CommitFailedError("already there")

    monkeypatch.setattr(DeltaRsTable, "append", answer_lost)
    table = make()
    assert table.append(few(rows(spark, (5, "e", 1))), run_id="r1", progress={"done": 1}).rows_inserted == 1
    assert len(content(table)) == 5


@pytest.mark.parametrize("commits", [2, pytest.param(3, marks=pytest.mark.nightly)])
def test_a_write_that_meets_maintenance_is_made_again(
    spark: SparkSession, make: Callable[..., LakeTable], monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    """The commits of others come between the opening of the table and the write, but carry no number."""
    table, left = make(), [commits]
    real = DeltaRsTable.append

    def overtaken(self: DeltaRsTable, *given: Any) -> None:
        if left[0]:
            left[0] -= 1
            spark.newSession().sql(f"ALTER TABLE delta.`{table.path}` SET TBLPROPERTIES ('n' = '{left[0]}')")
        real(self, *given)

    monkeypatch.setattr(DeltaRsTable, "append", overtaken)
    if commits == 3:
        with pytest.raises(BatchError, match="another run wrote the same rows first"):
            table.append(few(rows(spark, (5, "e", 1))), run_id="r1", progress={"done": 1})
        assert len(content(table)) == 4
    else:
        table.append(few(rows(spark, (5, "e", 1))), run_id="r1", progress={"done": 1})
        assert len(content(table)) == 5


def test_rows_are_looked_up_by_their_keys(spark: SparkSession, make: Callable[..., LakeTable]) -> None:
    table = make()
    keys = small_frame(spark, [(1, 1), (3, 1), (4, 2), (77, 2), (None, 2)], "k BIGINT, d INT")
    for on in ([("Id", "k")], [("Id", "k"), ("day", "d")]):
        for where in (None, "text IS NOT NULL"):
            columns = ("text",)
            here = table.at().with_keys(few(keys), on, columns=columns, where=where)
            by_spark = FrameSource(table.read()).with_keys(Rows.of(keys), on, columns=columns, where=where).frame
            assert here.arrow is not None
            assert sorted(map(str, here.frame.collect())) == sorted(map(str, by_spark.collect()))
            assert here.frame.columns == ["text"]


@pytest.mark.parametrize(("most", "is_here"), [(4, True), (3, False)])
def test_a_table_of_few_rows_is_read_here(
    make: Callable[..., LakeTable], monkeypatch: pytest.MonkeyPatch, most: int, is_here: bool
) -> None:
    monkeypatch.setattr(sizes, "DRIVER_ROWS_MAX", most)
    table = make()
    found = table.at().frame
    assert (found.inputFiles() == []) == is_here
    assert found.schema == table.read().schema
    assert sorted((tuple(row) for row in found.collect()), key=str) == content(table)


def test_keys_of_another_type_are_left_to_spark(spark: SparkSession, make: Callable[..., LakeTable]) -> None:
    keys = few(small_frame(spark, [("1",), ("x",)], "k STRING"))
    with pytest.raises(Exception, match="CAST_INVALID_INPUT"):
        make().at().with_keys(keys, [("Id", "k")]).frame.collect()
    found = few(small_frame(spark, [(2**32 + 1,)], "k BIGINT"))
    assert make("u").at().with_keys(found, [("Id", "k")]).frame.collect() == []


def test_more_rows_than_the_driver_may_hold_are_left_to_spark(make: Callable[..., LakeTable]) -> None:
    found = make().delta_rs()
    assert found is not None
    assert found.rows({}, columns=["Id"], where=None, most=3) is None
    assert found.changes(1, 1, most=3) is None
    several = found.rows({}, columns=["Id"], where=None, most=4)
    assert several is not None
    assert sorted(several["Id"].to_pylist()) == [1, 2, 3, 4]


def test_a_file_that_is_gone_is_reported(make: Callable[..., LakeTable]) -> None:
    table = make()
    for file in Path(table.path.removeprefix("file://")).rglob("*.parquet"):
        file.unlink()
    with pytest.raises(DeltaRsError) as raised:
        table.at().read()
    assert raised.value.is_gone


def test_the_log_gets_checkpoints_that_spark_reads(spark: SparkSession, make: Callable[..., LakeTable]) -> None:
    table = make()
    for number in range(5, 17):
        table.append(few(rows(spark, (number, "n", 1))), run_id="r", progress={"done": number})
    folder = Path(table.path.removeprefix("file://")) / "_delta_log"
    assert list(folder.glob("*10.checkpoint.parquet"))
    (folder / "00000000000000000003.json").unlink()
    assert spark.newSession().read.format("delta").load(table.path).count() == 16


def test_the_data_files_are_those_that_spark_counts(spark: SparkSession, make: Callable[..., LakeTable]) -> None:
    table = make()
    table.append(few(rows(spark, (5, "e", 1))), run_id="r1", progress={"done": 1})
    detail = spark.sql(f"DESCRIBE DETAIL delta.`{table.path}`").collect()[0]
    assert (table.data_files().count, table.data_files().size) == (detail["numFiles"], detail["sizeInBytes"])


def test_a_place_that_only_spark_reaches_is_left_to_it(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    assert DeltaRsLocation(spark, "hdfs://cluster/lake/t").newest() is None
    monkeypatch.setitem(delta_rs_location._FROM_S3A, "aws_access_key_id", "of.nobody")
    assert DeltaRsLocation(spark, "s3a://bucket/t").newest() is None  # a session without a login for it


def test_types_of_texts_do_not_matter(spark: SparkSession, make: Callable[..., LakeTable]) -> None:
    found = make().delta_rs()
    assert found is not None
    texts = pa.chunked_array([pa.array(["a", "c", "zz"])])
    rows_found = found.rows({"text": texts}, columns=["Id", "text"], where=None, most=9)
    assert rows_found is not None
    assert rows_found.schema.field("text").type == pa.string()
    assert sorted(rows_found["Id"].to_pylist()) == [1, 3]


def test_a_table_is_made_and_first_filled_here(spark: SparkSession, tmp_path: Path) -> None:
    table = LakeTable(spark, f"file://{tmp_path}/new", "gold/new")
    given = {**CHANGE_FEED, "millrace.feed": "changes"}
    news = few(rows(spark, *NEWS))
    table.progress()
    written = table.replace(news, run_id="r0", progress={"done": 0}, partition_by=["day"], properties=given)
    assert (writers(table), written.rows_inserted, table.progress()) == (["delta-rs"] * 2, 3, {"done": 0})
    detail = spark.sql(f"DESCRIBE DETAIL delta.`{table.path}`").collect()[0]
    assert (detail["partitionColumns"], given.items() <= detail["properties"].items()) == (["day"], True)
    assert table.read().schema == StructType([StructField(each.name, each.dataType) for each in news.schema])
    assert content(table) == sorted((tuple(row) for row in news.frame.collect()), key=str)


def test_a_table_that_another_run_has_made_meanwhile_stays(spark: SparkSession, make: Callable[..., LakeTable]) -> None:
    table = make()
    DeltaRsLocation(spark, table.path).create(rows(spark).schema, partition_by=[], properties={})
    assert (len(content(table)), table.version()) == (4, 1)


def test_a_table_that_is_held_open_follows_what_others_commit(
    spark: SparkSession, make: Callable[..., LakeTable]
) -> None:
    table = make()
    earlier = table.at()
    other = LakeTable(spark, table.path, table.name)
    other.progress()
    other.append(rows(spark, (5, "e", 1), more="7 AS seven"), run_id="r1", progress={"done": 1})
    other.have({"millrace.feed": "changes"})
    found = table.delta_rs()
    assert found is not None
    assert (found.version(), found.number(table.name), found.schema.names[-1]) == (3, 2, "seven")
    assert (table.property("millrace.feed"), table.progress()) == ("changes", {"done": 1})
    detail = spark.sql(f"DESCRIBE DETAIL delta.`{table.path}`").collect()[0]
    assert (table.data_files().count, table.data_files().size) == (detail["numFiles"], detail["sizeInBytes"])
    seen = [at.read().frame.count() for at in (earlier, table.at())]
    assert (seen, earlier.schema.names[-1]) == ([4, 5], "day")


def test_a_log_that_was_cut_behind_an_open_table_is_read_anew(
    spark: SparkSession, make: Callable[..., LakeTable]
) -> None:
    table = make()
    assert table.version() == 1
    other = LakeTable(spark, table.path, table.name)
    for number in (5, 6):
        other.append(few(rows(spark, (number, "n", 1))), run_id="r", progress={"done": number})
    DeltaLog(spark, table.path).forget_past()
    assert (table.version(), table.progress()) == (3, {"done": 6})
    assert table.at().read().frame.count() == 6
