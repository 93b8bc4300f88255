"""Goal: a table keeps one writer: chosen when it is made, changed by maintenance, and its errors are not hidden.

Method: real Delta tables in temporary folders; the commits in their logs name the engine that made them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake.exceptions import DeltaError
from pyspark.sql import SparkSession

from batch.delta import sizes
from batch.delta.delta_rs import DeltaRsError, DeltaRsTable
from batch.delta.table import DELETION_VECTORS, LakeTable
from batch.delta.writer import DELTA_RS, SPARK, SPARK_ONLY, WRITER
from batch.gold.refresh import literal
from tests.support.lake.delta_tables import NEWS, SAME, content, few, merge, rows, table_of_four, writers


@pytest.fixture
def make(spark: SparkSession, tmp_path: Path) -> Callable[..., LakeTable]:
    """Makes tables as `delta_tables.table_of_four` does."""
    return lambda name="t": table_of_four(spark, f"file://{tmp_path}/{name}")


def test_the_writer_is_fixed_when_a_table_is_made_and_maintain_changes_it(
    spark: SparkSession, make: Callable[..., LakeTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = make()
    assert (table.property(WRITER), table.writer()) == (DELTA_RS, DELTA_RS)
    monkeypatch.setattr(sizes, "DELTA_RS_TABLE_BYTES_MAX", 1)
    monkeypatch.setattr(sizes, "DELTA_RS_RETURN_BYTES_MAX", 1)
    table.append(few(rows(spark, (5, "e", 1))), run_id="r1", progress={"done": 1})
    merge(table, few(rows(spark, (6, "f", 1), more="false AS _gone")))
    assert writers(table)[-2:] == ["delta-rs"] * 2, "the table has outgrown delta-rs, but maintain has not seen it"
    assert table.decide_writer(run_id="m1") == SPARK
    table.append(few(rows(spark, (7, "g", 1))), run_id="r2", progress={"done": 2})
    assert (writers(table)[-1], table.decide_writer(run_id="m2")) == ("spark", None)
    monkeypatch.setattr(sizes, "DELTA_RS_TABLE_BYTES_MAX", 2**30)
    assert table.decide_writer(run_id="m3") is None, "not small enough to go back"
    monkeypatch.undo()
    assert (table.decide_writer(run_id="m4"), table.progress()) == (DELTA_RS, {"done": 2})
    table.append(few(rows(spark, (8, "h", 1))), run_id="r3", progress={"done": 3})
    assert (writers(table)[-1], len(content(table))) == ("delta-rs", 8)


def test_a_large_load_is_left_to_spark_from_then_on(
    spark: SparkSession, tmp_path: Path, make: Callable[..., LakeTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = make("small")
    monkeypatch.setattr(sizes, "DELTA_RS_TABLE_BYTES_MAX", 1)
    made = make("large")
    assert (made.property(WRITER), made.progress()) == (SPARK, {"done": 0})
    replaced = table.replace(rows(spark, *NEWS), run_id="r1", progress={"done": 1})
    assert (table.property(WRITER), table.progress()) == (SPARK, {"done": 1})
    assert (replaced.version, replaced.rows_inserted) == (table.version(), 3)


def test_a_table_without_the_property_is_decided_by_its_size_until_maintain_records_it(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = LakeTable(spark, f"file://{tmp_path}/old", "silver/old")
    rows(spark, (1, "a", 1)).write.format("delta").save(table.path)
    assert (table.property(WRITER), table.writer()) == (None, DELTA_RS)
    monkeypatch.setattr(sizes, "DELTA_RS_TABLE_BYTES_MAX", 1)
    assert (table.writer(), table.decide_writer(run_id="m"), table.property(WRITER)) == (SPARK, SPARK, SPARK)


def test_an_error_of_delta_rs_is_raised_and_nothing_is_written(
    spark: SparkSession, make: Callable[..., LakeTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_self: DeltaRsTable, *_given: Any) -> None:
        raise DeltaError("Invalid data found: 1 rows failed validation check.")

    table = make()
    before = table.version()
    monkeypatch.setattr(DeltaRsTable, "merge", failing)
    with pytest.raises(DeltaRsError) as raised:
        merge(table, few(rows(spark, (1, "A", 1), more="false AS _gone")))
    assert not raised.value.is_gone
    assert all(part in str(raised.value) for part in (table.path.removeprefix("file://"), "failed validation", WRITER))
    assert (table.version(), len(content(table))) == (before, 4)


def test_a_commit_whose_log_could_not_be_tidied_counts(
    spark: SparkSession, make: Callable[..., LakeTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = DeltaRsTable.append

    def untidy(self: DeltaRsTable, *given: Any) -> None:
        real(self, *given)
        raise DeltaError("no checkpoint")

    monkeypatch.setattr(DeltaRsTable, "append", untidy)
    table = make()
    assert table.append(few(rows(spark, (5, "e", 1))), run_id="r1", progress={"done": 1}).rows_inserted == 1
    assert len(content(table)) == 5


@pytest.mark.parametrize(
    "why",
    [
        "deletion vectors",
        *(pytest.param(why, marks=pytest.mark.nightly) for why in ("more columns", "other types", "an operator")),
    ],
)
def test_what_delta_rs_does_not_do_is_spark_s_from_the_start(
    spark: SparkSession, make: Callable[..., LakeTable], monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    table = make()
    monkeypatch.setattr(DeltaRsTable, "append", None)
    if why == "deletion vectors":
        table.have(DELETION_VECTORS)
    elif why == "an operator":
        table.have({WRITER: SPARK_ONLY})
    table.progress()
    new = rows(spark, (5, "e", 1), more="7 AS seven" if why == "more columns" else "")
    new = new.withColumn("day", new["day"].cast("smallint")) if why == "other types" else new
    table.append(few(new), run_id="r1", progress={"done": 1})
    assert (writers(table)[-1], len(content(table))) == ("spark", 5)
    if why in ("deletion vectors", "an operator"):
        assert (table.writer(), table.delta_rs()) == (SPARK, None)
        assert table.decide_writer(run_id="m") == (SPARK if why == "deletion vectors" else None)


def test_columns_that_delta_rs_does_not_know_make_a_table_of_spark(spark: SparkSession, tmp_path: Path) -> None:
    table = LakeTable(spark, f"file://{tmp_path}/nested", "gold/nested")
    table.replace(few(spark.createDataFrame([(1, [1, 2])], "id INT, found ARRAY<INT>")), run_id="r", progress={})
    assert (table.property(WRITER), set(writers(table))) == (SPARK, {"spark"})


def test_a_merge_on_texts_with_quotes_is_the_same_for_both(spark: SparkSession, make: Callable[..., LakeTable]) -> None:
    quoted = literal("o'brien")
    for name in ("here", "spark"):
        table, news = make(name), rows(spark, (2, "o'brien", 1))
        table.append(news, run_id="r1", progress={"done": 1})
        table.merge(
            few(news) if name == "here" else news,
            on=f"{SAME} AND t.`text` IN ({quoted})",
            set_when="true",
            run_id="r2",
            progress={"done": 2},
        )
        assert writers(table)[-1] == ("delta-rs" if name == "here" else "spark")
        assert len(content(table)) == 5


def test_times_after_2262_stay_the_same_in_rows_that_delta_rs_copies(spark: SparkSession, tmp_path: Path) -> None:
    last = spark.sql("SELECT id, TIMESTAMP '9999-12-31 23:59:59.999999' AS at FROM RANGE(2)")
    table = LakeTable(spark, f"file://{tmp_path}/times", "silver/times")
    table.append(last, run_id="r0", progress={})
    new = few(spark.sql("SELECT 1L AS id, TIMESTAMP '2025-01-31 00:00:00' AS at"))
    table.merge(new, on="t.id = s.id", set_when="true", run_id="r1", progress={})
    assert writers(table) == ["delta-rs", "spark", "delta-rs"]  # made, filled, merged into
    texts = table.read().selectExpr("id", "CAST(at AS STRING)").orderBy("id").collect()
    assert [tuple(row) for row in texts] == [(0, "9999-12-31 23:59:59.999999"), (1, "2025-01-31 00:00:00")]
