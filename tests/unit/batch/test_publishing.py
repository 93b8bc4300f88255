"""Goal: what a run publishes is consistent, complete, and free of values of rows.

Method: steps that are plain functions, manifests in a temporary folder, a fake Redis; no Spark.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import AnalysisException, SparkRuntimeException

from batch.console.logs import logged
from batch.console.values import without_values
from batch.context import LayerResult
from batch.pipeline.report import print_outcome
from batch.pipeline.runner import Step
from tests.unit.batch.run_testbed import RunTestbed, failing, step


@pytest.fixture
def testbed(tmp_path: Path) -> RunTestbed:
    return RunTestbed(tmp_path)


def test_a_run_that_ends_after_a_later_one_takes_nothing_back(testbed: RunTestbed) -> None:
    testbed.steps = [step("bronze", "orders", 1, 1), step("bronze", "customers", 1, 1)]
    testbed.runner.run()

    def overtaken() -> LayerResult:
        testbed.steps = [step("bronze", "customers", 2, 1)]
        testbed.quiet(is_quiet=True).run()
        return LayerResult(layer="bronze", table="orders", version=2, rows_written=1)

    testbed.steps = [Step(layer="bronze", table="orders", work=overtaken)]
    assert testbed.runner.run().manifest.versions == {"bronze/orders": 2, "bronze/customers": 2}
    assert testbed.newest() is not None
    assert testbed.manifests.last(1)[0].versions == {"bronze/orders": 2, "bronze/customers": 2}


def test_idle_runs_of_a_service_publish_what_the_last_manifest_names(testbed: RunTestbed) -> None:
    runner = testbed.quiet(is_quiet=True)
    runner.run()
    assert testbed.published == [], "there is no manifest yet"
    testbed.steps = [step("gold", "fact_orders", 1, 1)]
    first = runner.run().manifest
    testbed.steps = [step("gold", "fact_orders", 1)]
    runner.run()
    assert testbed.published == [first, first]
    assert testbed.newest() == first


def test_a_fact_is_published_only_with_its_dimensions(testbed: RunTestbed) -> None:
    def fact(version: int) -> Step:
        return dataclasses.replace(step("gold", "fact_orders", version, 1), refers_to=frozenset({"gold/dim_customer"}))

    testbed.steps = [step("gold", "dim_customer", 1, 1), fact(1), step("gold", "fact_others", 1, 1)]
    testbed.runner.run()
    broken = failing("gold", "dim_customer", AnalysisException("broken"))
    testbed.steps = [broken, fact(2), step("gold", "fact_others", 2, 1)]
    manifest = testbed.runner.run().manifest
    assert manifest.versions == {"gold/dim_customer": 1, "gold/fact_orders": 1, "gold/fact_others": 2}
    print_outcome(manifest, testbed.said.say, is_new=True)
    assert "not shown without gold/dim_customer" in testbed.said.text
    testbed.steps = [step("gold", "dim_customer", 2, 1), step("gold", "fact_orders", 2)]
    assert testbed.runner.run().manifest.versions["gold/fact_orders"] == 2


@pytest.mark.parametrize(
    "text",
    [
        '[CAST_INVALID_INPUT] The value \'O\'Canary of\nsomewhere\' of the type "STRING" cannot be cast to "INT"',
        '[CAST_OVERFLOW] The value CanaryS of the type "SMALLINT" cannot be cast to "TINYINT" due to an overflow',
        "[CANNOT_PARSE_TIMESTAMP] Text 'Canary' could not be parsed at index 0",
        "java.lang.NumberFormatException: For input string: 'Canary'",
        "Arrow error: Cast error: Cannot cast string 'Canary' to value of Int32 type",
        "Arrow error: Cast error: Can't cast value Canary to type Int32",
        "[CONVERSION_INVALID_INPUT] The value 'O'Canary of\nit' (base64) to \"BINARY\" is invalid. SQLSTATE: 22018",
        "[INVALID_URL] The url is invalid: Canary of\nsomewhere. Use `try_parse_url` instead. SQLSTATE: 22P02",
        "[DUPLICATED_MAP_KEY] Duplicate map key Canary was found, please check the input data. SQLSTATE: 23505",
        '[INVALID_FORMAT.MISMATCH_INPUT] The format is invalid: 999. The input "STRING" Canary. SQLSTATE: 42601',
        "[USER_RAISED_EXCEPTION] Canary SQLSTATE: P0001",
        "[MALFORMED_RECORD_IN_PARSING] Malformed records: [null]. SQLSTATE: 22023\n\tat a.B.c(B.java:1)\n"
        "Caused by: a.JsonParseException: Unrecognized token 'Canary\nof': was expecting true\n\tat a.B.c(B.java:1)",
    ],
)
def test_an_error_never_quotes_a_value_of_a_row(testbed: RunTestbed, tmp_path: Path, text: str) -> None:
    testbed.steps = [failing("gold", "dim_customer", SparkRuntimeException(text))]
    with logged(tmp_path / "logs"):
        manifest = testbed.runner.run().manifest
    assert manifest.errors
    logs = "".join(path.read_text() for path in (tmp_path / "logs").iterdir())
    written = "".join(path.read_text() for path in (tmp_path / "runs").iterdir())
    for place in (logs, written, str(testbed.redis.hashes), testbed.said.text):
        assert "SparkRuntimeException" in place or "dim_customer" in place
        assert "Canary" not in place


def test_the_condition_and_the_types_of_an_error_about_a_value_are_told_and_others_are_whole() -> None:
    text = '[CAST_INVALID_INPUT] The value \'"INT" x\' of the type "STRING" cannot be cast to "DATE". SQLSTATE: 22018'
    assert without_values(text) == '[CAST_INVALID_INPUT] of a value ("INT", "STRING", "DATE"), SQLSTATE: 22018'
    text = (
        "[TABLE_OR_VIEW_NOT_FOUND] The table `ordrs` cannot be found. SQLSTATE: 42P01\nCaused by: a.BException: c\n\tat"
    )
    assert without_values(text) == text


def test_drift_is_kept_in_manifest_and_job_record_until_a_run_sees_none(testbed: RunTestbed) -> None:
    def read(version: int, drift: list[str] | None) -> Step:
        result = LayerResult(layer="bronze", table="orders", version=version, rows_written=1, drift=drift)
        return Step(layer="bronze", table="orders", work=lambda: result)

    found = []
    for version, drift in ((1, ["ignored: colour"]), (2, None), (3, [])):
        testbed.steps = [read(version, drift)]
        outcome = testbed.runner.run()
        print_outcome(outcome.manifest, testbed.said.say, is_new=True)
        found.append((outcome.manifest.drift, json.loads(testbed.job["drift"])))
        assert testbed.job["drifted_tables"] == str(len(outcome.manifest.drift))
    drifted = {"bronze/orders": ["ignored: colour"]}
    assert found == [(drifted, drifted), (drifted, drifted), ({}, {})]
    assert testbed.said.text.count("bronze/orders: the columns of the source differ from the definition") == 2


def test_drift_is_not_kept_when_the_definition_has_changed_since(testbed: RunTestbed) -> None:
    def step(layer: str, **more: Any) -> Step:
        result = LayerResult(layer=layer, table="orders", version=1, **more)
        return Step(layer=layer, table="orders", work=lambda: result)

    found = []
    for definition, drift in (("a", ["ignored: colour"]), ("a", None), ("b", None)):
        testbed.steps = [step("bronze", drift=drift), step("silver", progress={"definition": definition})]
        found.append(testbed.runner.run().manifest.drift)
    drifted = {"bronze/orders": ["ignored: colour"]}
    assert found == [drifted, drifted, {}]
