"""Goal: a run completes every table that it can, reports each outcome, and becomes visible as a whole.

Method: steps that are plain functions, manifests in a temporary folder, a fake Redis; no Spark.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from py4j.clientserver import ClientServerConnection, JavaParameters, PythonParameters
from py4j.java_gateway import GatewayProperty, PythonProxyPool
from py4j.protocol import Py4JNetworkError
from pyspark.errors import AnalysisException

from batch.console.logs import layer_file, logged
from batch.context import LayerResult
from batch.errors import BatchError, SparkEndedError, StorageError
from batch.pipeline.job_record import JobRecord
from batch.pipeline.manifest import Manifest, Manifests, TableRun
from batch.pipeline.report import outcome_text, print_line, print_outcome, summary
from batch.pipeline.runner import Runner, Step, brief, run_steps
from batch.storage.objects import object_folder
from config.settings import ObjectStoreSettings
from tests.unit.batch.run_testbed import RunTestbed, failing, step

STORE = ObjectStoreSettings.read(
    {"MINIO_ENDPOINT": "http://127.0.0.1:1", "MINIO_ACCESS_KEY": "user", "MINIO_SECRET_KEY": "secret"}
)
NOON = datetime(2025, 5, 6, 12, tzinfo=UTC)


@pytest.fixture
def testbed(tmp_path: Path) -> RunTestbed:
    return RunTestbed(tmp_path)


def test_a_run_prints_each_table_and_leaves_a_manifest_with_all_versions(testbed: RunTestbed) -> None:
    testbed.steps = [step("bronze", "orders", 3, 120), step("silver", "orders", 7, 118)]
    outcome = testbed.runner.run()
    assert outcome.is_new
    assert testbed.said[0] == "→ bronze"
    assert "bronze/orders" in testbed.said[1]
    assert "120 rows written, version 3" in testbed.said[1]
    newest = testbed.newest()
    assert newest == outcome.manifest
    assert newest.versions == {"bronze/orders": 3, "silver/orders": 7}
    assert testbed.job["state"] == "done"
    assert json.loads(testbed.job["rows"]) == {"bronze/orders": 120, "silver/orders": 118}


def test_tables_that_a_run_does_not_touch_keep_their_versions(testbed: RunTestbed) -> None:
    testbed.steps = [step("bronze", "orders", 3, 1), step("gold", "dim_date", 5, 1)]
    testbed.runner.run()
    testbed.steps = [step("bronze", "orders", 4, 1)]
    assert testbed.runner.run().manifest.versions == {"bronze/orders": 4, "gold/dim_date": 5}


def test_a_run_with_nothing_new_writes_its_manifest_only_and_says_so(testbed: RunTestbed) -> None:
    testbed.steps = [step("bronze", "orders", 3, 1)]
    first = testbed.runner.run()
    testbed.steps = [step("bronze", "orders", 3)]
    again = testbed.runner.run()
    print_outcome(again.manifest, testbed.said.say, is_new=again.is_new)
    assert not again.is_new
    assert again.manifest.versions == first.manifest.versions
    assert [each.run_id for each in testbed.manifests.last()] == [again.manifest.run_id, first.manifest.run_id]
    assert testbed.job["state"] == "nothing new"
    assert "nothing new: no table was written" in testbed.said[-1]


def test_idle_runs_of_a_service_leave_no_manifest(testbed: RunTestbed) -> None:
    testbed.steps = [step("bronze", "orders", 3, 1)]
    first = testbed.runner.run()
    testbed.steps = [step("bronze", "orders", 3)]
    dataclasses.replace(testbed.runner, is_quiet=True).run()
    assert testbed.manifests.last() == [first.manifest]


def up_to_date(previous: Manifest) -> list[TableRun]:
    return [TableRun(layer="bronze", table="orders", version=previous.versions["bronze/orders"], unchanged=True)]


@pytest.mark.parametrize("is_quiet", [False, True])
def test_a_run_of_an_up_to_date_lake_makes_no_plan(testbed: RunTestbed, is_quiet: bool) -> None:
    testbed.steps = [step("bronze", "orders", 3, 1)]
    first = testbed.runner.run()
    testbed.said.clear()
    testbed.steps = [failing("bronze", "orders", TypeError("a plan was made"))]
    again = dataclasses.replace(testbed.runner, is_quiet=is_quiet, up_to_date_check=up_to_date).run()
    assert not again.is_new
    assert again.manifest.versions == first.manifest.versions
    assert testbed.manifests.last() == ([first.manifest] if is_quiet else [again.manifest, first.manifest])
    assert ("Spark was not started" in testbed.said.text) is not is_quiet
    assert testbed.job["state"] == "nothing new"


def test_before_the_first_run_nothing_is_up_to_date(testbed: RunTestbed) -> None:
    testbed.steps = [step("bronze", "orders", 3, 1)]
    assert dataclasses.replace(testbed.runner, up_to_date_check=up_to_date).run().is_new


def test_a_run_after_one_that_was_killed_before_its_manifest_makes_the_tables_visible(testbed: RunTestbed) -> None:
    testbed.steps = [step("bronze", "orders", 3, 1)]
    testbed.runner.run()
    testbed.steps = [step("bronze", "orders", 4)]  # committed by the killed run; nothing is new for this one
    assert testbed.runner.run().is_new
    assert testbed.newest() is not None
    assert testbed.manifests.last(1)[0].versions == {"bronze/orders": 4}


@pytest.mark.parametrize(
    "error",
    [BatchError("the source is away", layer="bronze", table="orders"), AnalysisException("no such column\n\tat Java")],
    ids=["named", "of Spark"],
)
def test_a_table_that_fails_does_not_stop_the_others(testbed: RunTestbed, error: Exception) -> None:
    testbed.steps = [step("bronze", "orders", 1, 1)]
    testbed.runner.run()
    testbed.steps = [failing("bronze", "orders", error), step("bronze", "customers", 2, 9)]
    manifest = testbed.runner.run().manifest
    assert [table.error is None for table in manifest.tables] == [False, True]
    assert manifest.versions == {"bronze/orders": 1, "bronze/customers": 2}
    assert testbed.job["state"] == "failed"
    assert "bronze/orders" in testbed.job["error"]
    assert "FAILED" in testbed.said.text
    assert "at Java" not in testbed.said.text


def test_a_bug_in_the_code_ends_the_program(testbed: RunTestbed) -> None:
    testbed.steps = [failing("bronze", "orders", TypeError("a mistake"))]
    with pytest.raises(TypeError):
        testbed.runner.run()
    assert testbed.job["state"] == "failed"
    assert testbed.newest() is None


def test_the_end_of_spark_ends_the_run(testbed: RunTestbed) -> None:
    testbed.steps = [failing("bronze", "orders", Py4JNetworkError("gone")), step("bronze", "customers", 1, 1)]
    with pytest.raises(SparkEndedError, match=r"bronze/orders.*spark\.log"):
        testbed.runner.run()


def test_a_java_that_cannot_be_reached_any_more_ends_the_run(testbed: RunTestbed) -> None:
    def call_java() -> LayerResult:
        # Nobody listens there; after Java's end, this is what a call of Py4J meets.
        gateway = GatewayProperty(True, PythonProxyPool())
        ClientServerConnection(JavaParameters(port=1), PythonParameters(), gateway, None).connect_to_java_server()
        raise AssertionError("there is no Java")

    testbed.steps = [Step(layer="bronze", table="orders", work=call_java)]
    with pytest.raises(SparkEndedError, match=r"bronze/orders: .*ConnectionRefusedError"):
        testbed.runner.run()


def test_an_error_of_another_connection_is_not_the_end_of_spark(testbed: RunTestbed) -> None:
    testbed.steps = [failing("bronze", "orders", ConnectionRefusedError("not Java's"))]
    with pytest.raises(ConnectionRefusedError):
        testbed.runner.run()


def test_a_storage_that_goes_away_ends_the_run_at_once(testbed: RunTestbed) -> None:
    away = StorageError("the object storage does not answer", layer="silver", table="orders")
    testbed.steps = [
        step("bronze", "orders", 1, 1),
        failing("silver", "orders", away),
        step("gold", "fact_orders", 2, 9),
    ]
    with pytest.raises(StorageError, match="silver/orders: "):
        testbed.runner.run()
    assert "gold/fact_orders" not in testbed.said.text
    assert testbed.job["state"] == "failed"
    assert testbed.newest() is None


def test_a_run_goes_on_without_redis_and_says_so_once(testbed: RunTestbed) -> None:
    testbed.redis.is_away = True
    testbed.steps = [step("bronze", "orders", 1, 1)]
    assert not testbed.runner.run().manifest.errors
    assert testbed.said.text.count("warning: ") == 1


def test_a_service_does_not_print_unchanged_tables(testbed: RunTestbed) -> None:
    testbed.steps = [step("bronze", "orders"), step("bronze", "customers", 2, 5)]
    outcome = testbed.quiet(is_quiet=True).run()
    print_line(outcome.manifest, testbed.said.say, is_new=True)
    assert "orders" not in testbed.said.text
    assert testbed.said[0].startswith("  bronze/customers")
    assert testbed.said[-1].endswith(
        f"run {outcome.manifest.run_id}: 5 rows written ({outcome.manifest.seconds:.1f} s)"
    )


def test_a_storage_that_is_away_fails_the_run_before_anything_is_done(testbed: RunTestbed) -> None:
    manifests = Manifests(object_folder("s3a://gold/audit/runs", STORE))
    done: list[str] = []

    def plan(run_id: str, started: datetime) -> list[Step]:
        done.append(run_id)
        return []

    record = JobRecord(testbed.redis, "project_db", testbed.said.say)
    runner = Runner(dataset="project_db", manifests=manifests, record=record, plan=plan, say=testbed.said.say)
    with pytest.raises(BatchError, match=r"object storage at http://127.0.0.1:1 .* run the command again"):
        runner.run()
    assert not done
    assert testbed.job["state"] == "failed"


def test_the_summary_has_a_line_per_table() -> None:
    tables = [
        TableRun(
            layer="silver", table="orders", version=4, rows_written=1_500, files=3, rejected={"range": 2}, seconds=3.25
        ),
        TableRun(layer="gold", table="fact_orders", error="broken"),
    ]
    lines = summary(tables).splitlines()
    assert lines[0].split() == ["LAYER", "TABLE", "ROWS", "RULES", "VERSION", "SECONDS"]
    assert lines[1].split() == ["silver", "orders", "1,500", "2", "4", "3.2"]
    assert lines[2].split() == ["gold", "fact_orders", "0", "0", "-", "0.0", "failed"]
    assert outcome_text(tables[0]) == "1,500 rows written in 3 files, 2 × range, version 4 (3.2 s)"
    assert outcome_text(TableRun(layer="bronze", table="orders", version=1, rows_written=1, files=1)) == (
        "1 rows written in 1 file, version 1 (0.0 s)"
    )


def test_tables_that_depend_on_a_failed_table_are_named(testbed: RunTestbed) -> None:
    testbed.steps = [
        failing("bronze", "orders", AnalysisException("broken")),
        step("bronze", "customers", 1, 1),
        dataclasses.replace(step("silver", "orders"), reads=frozenset({"bronze/orders"})),
        dataclasses.replace(step("silver", "customers", 1, 1), reads=frozenset({"bronze/customers"})),
        dataclasses.replace(step("gold", "fact_orders", 1, 1), reads=frozenset({"silver/orders", "silver/customers"})),
    ]
    manifest = testbed.runner.run().manifest
    print_outcome(manifest, testbed.said.say, is_new=True)
    assert [table.behind for table in manifest.tables] == [[], [], ["bronze/orders"], [], ["bronze/orders"]]
    assert "(silver/orders, gold/fact_orders); the others are up to date" in testbed.said[-1]
    assert "nothing new, depends on failed bronze/orders" in testbed.said.text


def test_errors_of_a_layer_are_in_its_log_in_full(tmp_path: Path) -> None:
    with logged(tmp_path):
        run_steps([failing("silver", "orders", AnalysisException("first\nsecond"))], lambda line: None)
    text = layer_file(tmp_path, "silver").read_text()
    assert "silver/orders failed" in text
    assert "second" in text
    assert "Traceback" in text
    assert "silver/orders failed" in (tmp_path / "batch.log").read_text()
    assert not layer_file(tmp_path, "gold").read_text()
    assert not logging.getLogger("batch").handlers


def test_a_log_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(BatchError, match="LOG_DIR"), logged(tmp_path / "taken"):
        pass


def test_an_error_is_one_line() -> None:
    assert brief(AnalysisException("\nfirst\n\tat org.apache")) == "AnalysisException: first"
    assert brief(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_log_lines_of_libraries_are_in_the_log_and_not_on_the_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with logged(tmp_path):
        logging.getLogger().error("Exception while sending command.")
    assert "Exception while sending command." in (tmp_path / "batch.log").read_text()
    assert capsys.readouterr().err == ""
