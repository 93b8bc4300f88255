"""Goal: the lake gives each hostile envelope the verdict that the streams give it, and none ends a run.

Method: one job over the list that `tests/unit/model/test_input_classes.py` gives to the decoder of the streams.
"""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from batch.bronze.envelope import decoded, with_table_columns
from streams.topics import change_topic
from tests.support.hostile_envelopes import CHANGE, ENVELOPES, MALFORMED, TOMBSTONE
from tests.support.lake.bronze_testbed import DEFINITION, Archive

ORDERS = DEFINITION.table("orders")


def test_every_hostile_envelope_gets_the_verdict_that_the_streams_give(spark: SparkSession, tmp_path: Path) -> None:
    archive = Archive(tmp_path, change_topic("project_db", "orders"))
    path = archive.put(*(value for value, _ in ENVELOPES.values()))
    records = with_table_columns(decoded(spark.read.parquet(f"file://{path}"), ORDERS), ORDERS, DEFINITION)
    found = {int(row["_origin"].rpartition("/")[2]): row for row in records.drop("_key", "_value").collect()}
    verdicts = {
        name: MALFORMED if row["_problem"] else TOMBSTONE if row["_is_tombstone"] else CHANGE
        for name, row in zip(ENVELOPES, (found[number] for number in range(len(ENVELOPES))), strict=True)
    }
    expected = {name: verdict for name, (_, verdict) in ENVELOPES.items()}
    assert verdicts == expected | {"truncate": CHANGE}  # describes no row, so the streams put it aside
    reasons = {name: found[number]["_problem"] for number, name in enumerate(ENVELOPES)}
    assert "source time" in reasons["time 9e18"]
    assert "characters" in reasons["id of 256 characters"]
