"""Goal: texts of sequences sort exactly as positions do, from Python and from Spark.

Method: positions drawn by Hypothesis, with their parts' bounds; Spark's text is held against Python's.
"""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from batch.bronze.sequence import (
    epoch_sql,
    file_number_sql,
    jdbc_sequence,
    reading_sequence,
    sequence_sql,
)
from streams.model.position import (
    MAX_EPOCH,
    MAX_FILE_NUMBER,
    SNAPSHOT_ROW,
    Position,
    binlog_file_number,
    epoch_of,
    sequence_text,
)

SMALL_OR_LARGE = st.integers(0, 3) | st.integers(0, 2**63 - 1)
POSITIONS = st.tuples(
    st.integers(0, 3) | st.integers(0, 2**31 - 1),
    SMALL_OR_LARGE,
    SMALL_OR_LARGE,
    st.integers(-1, 3) | st.integers(-1, 2**31 - 1),
)
EXTREMES: list[Position] = [(0, 0, 0, -1), (0, 0, 0, 0), (1, 9, 10, 99), (2**31 - 1, 2**63 - 1, 2**63 - 1, 2**31 - 1)]


@given(one=POSITIONS, other=POSITIONS)
@example(one=(0, 9, 0, 0), other=(0, 10, 0, 0))
@example(one=(0, 1, 5, -1), other=(0, 1, 5, 0))
def test_texts_sort_as_positions_do(one: Position, other: Position) -> None:
    assert (sequence_text(one) < sequence_text(other)) == (one < other)
    assert (sequence_text(one) == sequence_text(other)) == (one == other)


@given(position=POSITIONS)
def test_all_texts_are_of_one_length(position: Position) -> None:
    assert len(sequence_text(position)) == len(sequence_text(EXTREMES[0])) == 61


def test_of_two_readings_at_one_position_the_later_counts_and_a_logged_change_counts_more() -> None:
    place = (0, 7, 155)
    first, second = (
        reading_sequence((*place, SNAPSHOT_ROW), datetime(2026, 1, 1, 0, 0, at, tzinfo=UTC)) for at in (1, 2)
    )
    assert sequence_text((*place, SNAPSHOT_ROW)) < first < second < sequence_text((*place, 0))


def test_what_was_read_later_by_jdbc_is_newer() -> None:
    assert jdbc_sequence(999) < jdbc_sequence(1_000) < jdbc_sequence(10**16)


def test_spark_writes_the_same_texts(spark: SparkSession) -> None:
    positions = [*EXTREMES, (3, 2, 17, 4)]
    rows = spark.createDataFrame(positions, "epoch INT, file BIGINT, pos BIGINT, row INT")
    texts = rows.selectExpr(f"{sequence_sql('epoch', 'file', 'pos', 'row')} AS text")
    assert {row["text"] for row in texts.collect()} == {sequence_text(position) for position in positions}


def test_spark_reads_the_same_epochs(spark: SparkSession) -> None:
    names = ["project_db", "project_db.e1", "a.e2.e30", f"x.e{MAX_EPOCH}", "x.e0", "x.e01", "x.e-1", "x.e1\n", "e1", ""]
    names += ["x.e1000000000", "xe5", "x.E5", "x.e5 ", "x.e٥", "y" * 300 + ".e7"]
    rows = spark.createDataFrame([(name,) for name in [*names, None]], "name STRING")
    found = {row["name"]: row["epoch"] for row in rows.selectExpr("name", f"{epoch_sql('name')} AS epoch").collect()}
    assert found == {name: epoch_of(name) for name in [*names, None]}
    assert sorted(set(found.values())) == [0, 1, 7, 30, MAX_EPOCH]


def test_spark_reads_the_same_file_numbers(spark: SparkSession) -> None:
    names = ["binlog.000002", "a.b.10", "binlog.1000000", f"x.{MAX_FILE_NUMBER}", f"x.{'0' * 80}7"]
    wrong = ["binlog", "binlog.", "binlog.2x", f"x.{MAX_FILE_NUMBER + 1}", f"x.{'0' * 100}7", "7", ""]
    wrong += ["x.-7", "x.+7", "x. 7", "x.7\n", "x.7.0 ", "x.0x7", "x.1e1", "x.٧"]
    rows = spark.createDataFrame([(name,) for name in names + wrong], "name STRING")
    found = {
        row["name"]: row["number"] for row in rows.selectExpr("name", f"{file_number_sql('name')} AS number").collect()
    }
    assert found == {name: binlog_file_number(name) for name in names} | dict.fromkeys(wrong)
