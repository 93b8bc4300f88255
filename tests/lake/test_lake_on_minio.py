"""Goal: on object storage no commit is lost, however many write, and a storage that is away is an error soon.

Method: a real MinIO; the log store is asked directly where an order of events matters, and processes of their own write
where only luck decides it: within one process Delta has a lock that would hide a loss.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from batch.delta.delta_rs import commit_properties
from batch.delta.delta_rs_location import DeltaRsLocation
from batch.delta.table import LakeTable
from batch.errors import BatchError
from batch.spark.session import LOG_STORE
from batch.storage.retry import with_tries
from config.settings import SparkSettings, environment_with
from stack.local import Stack
from tests.support.lake.frames import small_frame

WRITERS, COMMITS = 2, 8


class LogStore:
    """The log store, called as Delta does."""

    def __init__(self, spark: SparkSession) -> None:
        self._jvm: Any = spark.sparkContext._jvm
        self._configuration = spark.sparkContext._jsc.hadoopConfiguration()
        self._store = getattr(self._jvm, LOG_STORE)(self._configuration)

    def write(self, path: str, *lines: str, overwrite: bool = False) -> None:
        """Write a file of the log."""
        actions = self._jvm.java.util.ArrayList()
        for line in lines:
            actions.add(line)
        self._store.write(self._jvm.org.apache.hadoop.fs.Path(path), actions.iterator(), overwrite, self._configuration)

    def read(self, path: str) -> list[str]:
        """The lines of a file."""
        lines = self._store.read(self._jvm.org.apache.hadoop.fs.Path(path), self._configuration)
        try:
            found = []
            while lines.hasNext():
                found.append(str(lines.next()))
            return found
        finally:
            lines.close()


@pytest.fixture
def place() -> str:
    """A folder of its own in the bucket."""
    return f"s3a://bronze/test-{uuid.uuid4().hex}"


def is_conflict(error: Py4JJavaError) -> bool:
    return str(error.java_exception.getClass().getName()) == "java.nio.file.FileAlreadyExistsException"


def test_of_several_writers_of_one_version_exactly_one_wins(spark_on_minio: SparkSession, place: str) -> None:
    def write(name: str) -> bool:
        try:
            LogStore(spark_on_minio).write(f"{place}/0.json", name)
        except Py4JJavaError as error:
            return not is_conflict(error)
        return True

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(write, [f"writer {number}" for number in range(6)]))
    assert won.count(True) == 1
    assert LogStore(spark_on_minio).read(f"{place}/0.json") == [f"writer {won.index(True)}"]


def test_ones_own_commit_is_known_again_when_its_answer_was_lost(spark_on_minio: SparkSession, place: str) -> None:
    store = LogStore(spark_on_minio)
    store.write(f"{place}/0.json", "commit of mine", "żółć")
    store.write(f"{place}/0.json", "commit of mine", "żółć")
    with pytest.raises(Py4JJavaError) as refused:
        store.write(f"{place}/0.json", "commit of mine", "and more")
    assert is_conflict(refused.value)
    store.write(f"{place}/0.json", "replaced on purpose", overwrite=True)
    assert store.read(f"{place}/0.json") == ["replaced on purpose"]


@pytest.mark.nightly  # three more Javas; below, writers of both kinds compete on every push
def test_concurrent_writers_lose_no_commit(
    spark_on_minio: SparkSession, spark_settings: SparkSettings, lake_stack: Stack, place: str
) -> None:
    table = LakeTable(spark_on_minio, f"{place}/table", "bronze/table")
    start = table.append(
        small_frame(spark_on_minio, [("start", 0)], "writer STRING, number INT"), run_id="r", progress={}
    )
    told = {"SPARK_JARS": str(spark_settings.jars), "SPARK_MASTER": "local[1]", "SPARK_DRIVER_MEMORY": "512m"}
    with ExitStack() as running:
        writers = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.lake.writer", table.path, f"writer-{number}", str(COMMITS)],
                    env=environment_with(lake_stack.environment() | told),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for number in range(WRITERS)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        for writer in writers:
            writer.communicate()
    assert [writer.returncode for writer in writers] == [0] * WRITERS
    rows = {(row["writer"], row["number"]) for row in table.read().collect()}
    assert rows == {("start", 0)} | {(f"writer-{n}", number) for n in range(WRITERS) for number in range(COMMITS)}
    assert table.version() - start.version == WRITERS * COMMITS


def test_writers_of_both_kinds_lose_no_commit(spark_on_minio: SparkSession, place: str) -> None:
    table = LakeTable(spark_on_minio, f"{place}/table", "bronze/table")
    shape = "writer STRING, number INT"
    start = table.append(small_frame(spark_on_minio, [("start", 0)], shape), run_id="r", progress={})

    def by_delta_rs(name: str) -> None:
        for number in range(COMMITS):
            rows = pa.table({"writer": [name], "number": pa.array([number], pa.int32())})
            while True:
                found = DeltaRsLocation(spark_on_minio, table.path).newest()
                assert found is not None
                try:
                    found.append(rows, commit_properties("{}", name, number))
                except CommitFailedError:
                    continue  # another one was first, and the rows are offered again
                break

    def by_spark(name: str) -> None:
        for number in range(COMMITS):
            rows = small_frame(spark_on_minio, [(name, number)], shape)
            rows.write.format("delta").mode("append").save(table.path)

    with ThreadPoolExecutor(3) as pool:
        tasks = [pool.submit(by_delta_rs, "one"), pool.submit(by_delta_rs, "two"), pool.submit(by_spark, "spark")]
    for task in tasks:
        task.result()
    rows = {(row["writer"], row["number"]) for row in table.read().collect()}
    assert rows == {("start", 0)} | {(name, number) for name in ("one", "two", "spark") for number in range(COMMITS)}
    assert table.version() - start.version == 3 * COMMITS


def test_a_storage_that_is_away_is_named_after_three_tries(spark_on_minio: SparkSession) -> None:
    configuration = spark_on_minio.sparkContext._jsc.hadoopConfiguration()
    configuration.set("fs.s3a.bucket.away.endpoint", "http://127.0.0.1:1")
    pauses: list[float] = []
    table = LakeTable(spark_on_minio, "s3a://away/table", "bronze/table")
    with pytest.raises(BatchError, match="bronze/table: the object storage does not answer"):
        with_tries(table.progress, layer="bronze", table="table", pause=pauses.append)
    assert len(pauses) == 2


def test_a_bucket_that_is_missing_is_named(spark_on_minio: SparkSession) -> None:
    table = LakeTable(spark_on_minio, "s3a://not-there/table", "bronze/table")
    with pytest.raises(BatchError, match="the bucket does not exist"):
        with_tries(
            lambda: table.append(spark_on_minio.range(1).toDF("id"), run_id="r", progress={}),
            layer="bronze",
            table="table",
            pause=lambda _: None,
        )
