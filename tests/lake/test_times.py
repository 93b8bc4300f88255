"""Goal: the times of the lake are in UTC wherever its commands run.

Method: a query on a machine whose zone has another time, in winter and in summer, and twice when summer ends.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from pyspark.sql import SparkSession

from batch.commands.inspect import print_rows
from batch.delta.rows import Rows

TIMES = (
    "2025-01-31 12:00:00",
    "2025-07-31 12:00:00.500000",
    "2025-10-26 00:30:00",
    "2025-10-26 01:30:00",
    "9999-12-31 23:59:59",
)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def test_times_are_printed_in_utc(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    listed = ", ".join(f"(TIMESTAMP '{text}')" for text in TIMES)
    rows = spark.sql(f"SELECT at, at, named_struct('at', at) AS s FROM VALUES {listed} AS t(at)")  # noqa: S608
    print_rows(rows, argparse.Namespace(limit=10, json=False))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["at", "at", "s"]
    for text, line in zip(TIMES, lines[1:], strict=False):
        assert line.count(text) == 2
        assert repr(datetime.fromisoformat(text)) in line
    assert lines[-1] == "(5 rows)"


def test_values_of_rows_that_spark_holds_are_in_utc(spark: SparkSession) -> None:
    rows = Rows.of(spark.sql("SELECT TIMESTAMP '2025-01-31 12:00:00' AS day, 'a' AS other"))
    assert rows.count_and_values(["day"]) == (1, {datetime(2025, 1, 31, 12)})
    assert rows.count_and_values([]) == (1, set())
