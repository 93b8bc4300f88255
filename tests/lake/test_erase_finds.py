"""Goal: an erasure takes what is known to be the person's, and no file that a commit in progress may need.

Method: undecodable records in small frames, and a Delta table in a folder with a file that no version names.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.errors import ParseException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812

from batch.commands.inspect import check_read_only
from batch.delta.log import DeltaLog
from batch.delta.table import LakeTable
from batch.erasure.archive import _former, _is_about
from batch.erasure.holdings import Holding, forget, quarantine_holding
from batch.erasure.person import Person, named_person
from batch.errors import BatchError
from config.dataset import load_definition
from config.lake_names import in_lake
from tests.support.lake.bronze_testbed import DEFINITION, run_context

OWNER = "customer_id"
VALUES = frozenset({"Ada", "ada@mail.example", "555"})
RECORDS = [
    ("7", "junk", True),
    ("8", '{"name": "Ada"', False),
    ("8", '{"name": "Ada", "phone": "555"', True),
    ("8", '{"email": "ada@mail.example"', True),
    ("8", None, False),
    (None, '{"name": "Ada L."', False),
]


def test_a_record_that_cannot_be_decoded_is_the_persons_by_key_address_or_two_values(
    spark: SparkSession, tmp_path: Path
) -> None:
    person = named_person(DEFINITION, "7")
    rows = spark.createDataFrame(RECORDS, "key STRING, value STRING, is_own BOOLEAN")
    found = rows.withColumn("found", _is_about(person, VALUES)).collect()
    assert [row["found"] for row in found] == [row["is_own"] for row in found]
    aside = rows.select(
        F.lit("customers").alias("table"),
        F.to_json(F.struct("key")).alias("key"),
        F.lit("unreadable").alias("rule"),
        F.to_json(F.struct("value")).alias("row"),
        "is_own",
    )
    condition = quarantine_holding(person, run_context(spark, tmp_path), VALUES).condition
    found = aside.withColumn("found", F.expr(condition)).collect()
    assert [row["found"] for row in found] == [row["is_own"] for row in found]


def test_files_of_older_versions_are_deleted_and_those_of_a_commit_in_progress_stay(
    spark: SparkSession, tmp_path: Path
) -> None:
    context = run_context(spark, tmp_path)
    table = LakeTable(spark, f"file://{tmp_path}/t", "silver/t")
    schema = "id INT, `day` STRING"
    table.append(spark.createDataFrame([(1, "a b"), (2, "c")], schema), run_id="1", progress={}, partition_by=["day"])
    table.remove("id = 1", run_id="2")
    in_progress = tmp_path / "t" / "day=c" / "part-of-a-commit.parquet"
    in_progress.write_bytes(b"")
    before = DeltaLog(spark, table.path).stored_files()
    forget(Holding(table=table, condition="id = 1", schema=""), context)
    kept = DeltaLog(spark, table.path).stored_files()
    assert len(before) == 3
    assert sorted(kept) == sorted(file for file in before if "day=c" in file)
    assert in_progress.exists()
    assert [row["id"] for row in table.read().collect()] == [2]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM delta.`/tmp/t`",
        "DROP TABLE orders",
        "INSERT INTO t SELECT 1",
        "SET x = 1",
        "SELECT 1) UNION (DELETE",
        "SELECT TRANSFORM(1) USING 'rm -r /tmp/t' AS (a STRING)",
        "WITH a AS (FROM (SELECT 1 AS b) MAP b USING 'rm' AS (c)) SELECT * FROM a",
        "SELECT (SELECT max(reflect('java.lang.System', 'exit', 1)))",
        "BEGIN DELETE FROM t; END",
    ],
)
def test_a_statement_that_could_change_a_table_is_refused(spark: SparkSession, statement: str) -> None:
    with pytest.raises((BatchError, ParseException), match=r"only queries|PARSE_SYNTAX_ERROR"):
        check_read_only(spark, statement)


def test_queries_of_any_form_are_run(spark: SparkSession) -> None:
    for query in (
        "SELECT 'ScriptTransformation', 'reflect('",
        "SELECT 1;",
        "WITH a AS (SELECT 1 AS n) SELECT * FROM a ORDER BY n -- last",
        "VALUES (1)",
        "TABLE t",
    ):
        check_read_only(spark, query)
    with pytest.raises(BatchError, match="only queries"):
        check_read_only(spark, "TRUNCATE TABLE t")


def test_records_of_rows_that_were_the_persons_are_found_by_the_names_of_the_source(spark: SparkSession) -> None:
    store = in_lake(load_definition("online_store"))
    person = Person(dataset="online_store", table=store.table("orders"), id="7", persons="customers", refers_by=OWNER)
    images = [('{"CustomerId": 7}', '{"CustomerId": 8}'), ('{"CustomerId": 8}', '{"CustomerId": 7}'), ("null", "null")]
    rows = [(0, at, f'{{"before": {was}, "after": {now}}}'.encode()) for at, (was, now) in enumerate(images)]
    rows.append((0, 3, f'{{"payload": {{"before": {images[0][0]}}}}}'.encode()))
    records = spark.createDataFrame(rows, "partition INT, offset BIGINT, value BINARY")
    assert _former(records, person, own=[]) == [(0, 0), (0, 3)]
    assert _former(records, person, own=[(0, 0)]) == [(0, 3)]
