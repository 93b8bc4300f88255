"""Helpers for tests with small Delta tables that both Spark and delta-rs write."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame, SparkSession

from batch.delta.commits import Written
from batch.delta.rows import Rows
from batch.delta.table import CHANGE_FEED, LakeTable
from tests.support.lake.frames import small_frame

SAME = "t.`Id` = s.`Id`"
NEWS = [(2, "o'brien", 2), (3, None, 1), (9, "new", 3)]


def rows(spark: SparkSession, *found: tuple[int, str | None, int], more: str = "") -> DataFrame:
    """Create a frame from tuples `(Id, text, day)`, with a price, a time, and the SQL column `more` if given."""
    made = small_frame(spark, [(i, t, d) for i, t, d in found], "Id INT, text STRING, day INT")
    price, at = "CAST(Id + 0.25 AS DECIMAL(10,2)) AS price", "TIMESTAMP '2026-01-02 03:04:05.000006' AS at"
    return made.selectExpr("Id", "text", price, at, "day", *([more] if more else []))


def few(found: DataFrame) -> Rows:
    """Collect a small frame to the driver."""
    here = Rows.of(found).collect_if_small()
    assert here.arrow is not None
    return here


def table_of_four(spark: SparkSession, path: str) -> LakeTable:
    """Create a table with four rows that Spark has written, partitioned by `day`, with a change data feed."""
    table = LakeTable(spark, path, f"silver/{path.rpartition('/')[2]}")
    start = rows(spark, (1, "a", 1), (2, "b", 1), (3, "c", 2), (4, None, 2))
    table.append(start, run_id="r0", progress={"done": 0}, partition_by=["day"], properties=CHANGE_FEED)
    table.progress()
    return table


def content(table: LakeTable) -> list[tuple[Any, ...]]:
    """Return all rows of a table, read by Spark and sorted."""
    return sorted((tuple(row) for row in table.read().collect()), key=str)


def writers(table: LakeTable) -> list[str]:
    """Return the engine that wrote each version of a table: `spark` or `delta-rs`."""
    infos = [table._log.commit_info(version) or {} for version in range(table.version() + 1)]
    return ["delta-rs" if "delta-rs" in str(info.get("engineInfo")) else "spark" for info in infos]


def merge(table: LakeTable, new: DataFrame | Rows) -> Written:
    """Merge rows into a table; rows whose column `_gone` is true are deleted."""
    return table.merge(
        new,
        on=f"{SAME} AND t.`day` IN (1, 2, 3)",
        set_when="NOT ((t.`text` IS NOT DISTINCT FROM s.`text`) AND (t.`day` IS NOT DISTINCT FROM s.`day`))",
        insert_when="NOT s._gone",
        delete_when="s._gone",
        evolve=False,
        run_id="r1",
        progress={"done": 1},
    )
