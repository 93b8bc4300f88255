"""Goal: Java optimises what it compiles where that pays, and only there.

Method: a builder that keeps what it is told, instead of Spark's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batch.spark.session import spark_session
from config.settings import SparkSettings


class Builder:
    """Stands in for `SparkSession.builder`; it is its own session."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: self

    def config(self, name: str, value: str) -> Builder:
        self.told[name] = value
        return self


@pytest.mark.parametrize("optimises", [False, True])
def test_only_who_asks_for_it_gets_the_compiler_that_optimises(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, optimises: bool
) -> None:
    builder = Builder()
    monkeypatch.setattr("batch.spark.session.SparkSession.builder", builder)
    settings = SparkSettings.read({"SPARK_JARS": str(tmp_path), "SPARK_CLASS_DATA": "false"})
    spark_session(settings, None, app="tests", optimises=optimises)
    assert ("-XX:TieredStopAtLevel=1" in builder.told["spark.driver.extraJavaOptions"]) is not optimises
    assert "Tiered" not in builder.told["spark.executor.extraJavaOptions"]
