"""Goal: Java is started with the options it needs: the optimising compiler only where it pays, logs in a file.

Method: a builder that keeps the settings it is given, instead of Spark's.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from batch.spark.jvm import _relay
from batch.spark.session import spark_session
from config.settings import SparkSettings


class Builder:
    """Stands in for `SparkSession.builder`; it is its own session."""

    def __init__(self) -> None:
        self.settings_given: dict[str, str] = {}

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: self

    def config(self, name: str, value: str) -> Builder:
        self.settings_given[name] = value
        return self


@pytest.mark.parametrize("optimises", [False, True])
def test_the_optimising_compiler_is_used_on_request_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, optimises: bool
) -> None:
    builder = Builder()
    monkeypatch.setattr("batch.spark.session.SparkSession.builder", builder)
    monkeypatch.setattr("batch.spark.session.start_java", lambda _settings: None)
    settings = SparkSettings.read({"SPARK_JARS": str(tmp_path), "SPARK_CLASS_DATA": "false"})
    spark_session(settings, None, app="tests", optimises=optimises)
    assert ("-XX:TieredStopAtLevel=1" in builder.settings_given["spark.driver.extraJavaOptions"]) is not optimises
    assert "Tiered" not in builder.settings_given["spark.executor.extraJavaOptions"]


@pytest.mark.parametrize(("master", "expected"), [("local[*]", "true"), ("spark://host:7077", None)])
def test_a_local_spark_asks_other_users_of_the_machine_for_its_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, master: str, expected: str | None
) -> None:
    builder = Builder()
    monkeypatch.setattr("batch.spark.session.SparkSession.builder", builder)
    monkeypatch.setattr("batch.spark.session.start_java", lambda _settings: None)
    settings = SparkSettings.read({"SPARK_JARS": str(tmp_path), "SPARK_CLASS_DATA": "false", "SPARK_MASTER": master})
    spark_session(settings, None, app="tests")
    assert builder.settings_given.get("spark.authenticate") == expected


def test_the_logging_configuration_that_java_is_given_exists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    builder = Builder()
    monkeypatch.setattr("batch.spark.session.SparkSession.builder", builder)
    monkeypatch.setattr("batch.spark.session.start_java", lambda _settings: None)
    settings = SparkSettings.read({"SPARK_JARS": str(tmp_path), "SPARK_CLASS_DATA": "false"})
    spark_session(settings, None, app="tests")
    found = re.search(r"-Dlog4j2\.configurationFile=(\S+)", builder.settings_given["spark.driver.extraJavaOptions"])
    assert found is not None
    assert "appender.file.type" in Path(urlsplit(found[1]).path).read_text()


def test_of_the_lines_that_java_prints_only_the_known_warning_is_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"WARNING: Using incubator modules: jdk.incubator.vector\nError: no room for the heap\nat the end")
    os.close(writer)
    _relay(reader)
    assert capfd.readouterr().err == "Error: no room for the heap\nat the end"
