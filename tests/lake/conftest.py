"""The Spark session that the tests of the batch jobs share, and the jars it needs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

import batch.spark.session
from batch.spark.session import spark_session
from config.settings import CacheSettings, ObjectStoreSettings, SparkSettings
from stack.artifacts.lake.jars import fetch_lake_jars
from stack.job import Job
from stack.local import Stack
from stack.ports import free_ports
from tests.support.lake.jdbc_source import database, details, orders, shop  # noqa: F401 - fixtures
from tests.support.stacks import stack_with_postgres


@pytest.fixture(scope="package")
def spark_settings() -> SparkSettings:
    """Two cores and the jars of the cache, which are fetched the first time."""
    cache = CacheSettings.read().expanded()
    jars = fetch_lake_jars(cache, Job(print, threading.Event()))
    environment = {"SPARK_JARS": str(jars), "SPARK_MASTER": "local[2]", "SPARK_DRIVER_MEMORY": "2g"}
    return SparkSettings.read(environment)


@pytest.fixture(scope="package")
def spark(spark_settings: SparkSettings) -> Iterator[SparkSession]:
    """A session without object storage: tables are in `file://` folders, a table's state is one partition."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(batch.spark.session._DELTA, "spark.databricks.delta.snapshotPartitions", "1")
        session = spark_session(spark_settings, None, app="tests")
    gateway = session.sparkContext._gateway
    yield session
    session.stop()
    assert gateway is not None
    gateway.proc.stdin.close()  # Java ends too: it would be in the way of all tests that follow
    gateway.proc.wait()


@pytest.fixture(scope="package")
def lake_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """MinIO, MariaDB and Redis; they end with the session, even when it is killed."""
    folder = tmp_path_factory.mktemp("stack")
    servers = ["minio", "mariadb", "redis"]
    with Stack.at(folder, ports=free_ports(), servers=servers, die_with_parent=True) as stack:
        yield stack


@pytest.fixture
def spark_on_minio(spark: SparkSession, spark_settings: SparkSettings, lake_stack: Stack) -> SparkSession:
    """The same session, which now reaches the object storage as `s3a://`."""
    return spark_session(spark_settings, ObjectStoreSettings.read(lake_stack.environment()), app="tests")


@pytest.fixture(scope="package")
def postgres_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, as a source; it ends with the session, even when it is killed."""
    folder = tmp_path_factory.mktemp("postgres")
    with stack_with_postgres(folder, ["postgres"]) as stack:
        yield stack


@pytest.fixture(scope="package")
def capture_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, Kafka and Connect: a source whose changes are captured; they end with the session."""
    folder = tmp_path_factory.mktemp("capture")
    with stack_with_postgres(folder, ["kafka", "connect", "postgres"]) as stack:
        yield stack
