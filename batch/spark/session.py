"""The Spark session: Delta tables, on S3A with a log store that several writers can share.

One Spark serves all layers: starting it, and loading S3A and Delta, costs more than most of the work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pyspark.sql import SparkSession

from batch.spark.class_data_archive import java_options
from batch.spark.jvm import start_java
from config.settings import BatchSettings, CacheSettings, ObjectStoreSettings, SparkSettings

LOG_STORE = "millrace.lake.PutIfAbsentLogStore"

# The default collector marks beside the work, which takes a fifth of two cores once the heap is half full.
_JAVA = "-Duser.timezone=UTC -XX:+UseParallelGC"
# A short run is mostly Spark's own code, asked a few times: the compiler that optimises takes two fifths of its
# processor time, and what it makes is hardly used again. Without that compiler Java reserves a fifth of the room for
# compiled code, which Spark fills within a run: from then on nothing is compiled any more.
_COMPILED_SOON = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
# Ten times as late as by default: what Spark does a few thousand times to plan queries is no work on rows.
_OPTIMISED_LATE = (
    "-XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 "
    "-XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000"
)
_LOGGING = Path(__file__).with_name("log4j2.properties").resolve()
_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # Delta's own for S3A loses commits when two processes write (see the class).
    "spark.delta.logStore.s3a.impl": LOG_STORE,
    # The parts in which a table's state is kept while it is read; the default of 50 suits clusters.
    "spark.databricks.delta.snapshotPartitions": "2",
}
_S3A = {
    "fs.s3a.endpoint.region": "us-east-1",
    "fs.s3a.path.style.access": "true",
    "fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
    "fs.s3a.fast.upload.buffer": "bytebuffer",
    # By default S3A goes on for minutes after the storage has gone; the layers themselves are tried three times.
    "fs.s3a.attempts.maximum": "3",
    "fs.s3a.retry.limit": "1",
    "fs.s3a.retry.interval": "200ms",
    "fs.s3a.connection.establish.timeout": "5s",
    "fs.s3a.connection.timeout": "60s",
}


class Sessions:
    """Sessions of one Spark for threads to borrow: each has settings and views of its own."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self._free = [spark]

    @contextlib.contextmanager
    def one(self) -> Iterator[SparkSession]:
        """A session that nobody else has meanwhile."""
        try:
            session = self._free.pop()
        except IndexError:
            session = self._spark.newSession()
        try:
            yield session
        finally:
            self._free.append(session)


@contextlib.contextmanager
def configured(spark: SparkSession, settings: Mapping[str, str]) -> Iterator[None]:
    """Settings of the session, meanwhile; afterwards they are what they were."""
    before = {name: spark.conf.get(name, None) for name in settings}
    for name, value in settings.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, was in before.items():
            if was is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, was)


def spark_session(
    settings: SparkSettings,
    lake_store: ObjectStoreSettings | None,
    *,
    app: str,
    records_class_data: bool = False,
    optimises: bool = False,
) -> SparkSession:
    """Start the session, or return the one that runs.

    Args:
        lake_store: the storage behind `s3a://`.
        records_class_data: let Java write a class-data archive at its end if there is none yet.
        optimises: let Java optimise what it compiles, which pays for a service and for work on whole tables.
    """
    class_data = ""
    if settings.class_data:
        class_data = java_options(settings, CacheSettings.read().folder.expanduser(), records=records_class_data)
    java = " ".join((_JAVA, _OPTIMISED_LATE if optimises else _COMPILED_SOON, class_data, _logging()))
    values = {"spark.master": settings.master, "spark.app.name": app}
    values |= {**_settings(settings, java), **_jars(settings), **_DELTA}
    start_java(values)
    builder = SparkSession.builder
    for name, value in values.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    if lake_store is not None:
        _reach(spark, lake_store)
    return spark


def _settings(settings: SparkSettings, java: str) -> dict[str, str]:
    return {
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.host": settings.driver_host,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.extraJavaOptions": java,
        "spark.executor.extraJavaOptions": _JAVA,
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        # Rows that are kept for a moment: finding out how to store them in less room takes longer than storing them.
        "spark.sql.inMemoryColumnarStorage.compressed": "false",
        # Few rows are mostly joined with many: a hash of the few saves sorting the many.
        "spark.sql.join.preferSortMergeJoin": "false",
        # Classes that Spark has generated and Java has compiled; a run over a dataset needs more than the default of
        # 100, so each run would make and compile all of them again.
        "spark.sql.codegen.cache.maxEntries": "3000",
        "spark.sql.parquet.compression.codec": "zstd",
        # Into how many tasks a listing of many files is split; the default of 10,000 makes a vacuum take half a minute.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "16",
    }


def _logging() -> str:
    """Java writes to a file of its own beside the layers' logs."""
    file = BatchSettings.read().log_folder.absolute() / "spark.log"
    return f'-Dlog4j2.configurationFile={_LOGGING.as_uri()} "-Dmillrace.spark.log={file}"'


def _jars(settings: SparkSettings) -> dict[str, str]:
    """On this machine the class path is enough; the executors of a cluster have to be sent the jars."""
    if settings.master.startswith("local"):
        return {"spark.driver.extraClassPath": f"{settings.jars}/*"}
    jars = ",".join(str(jar) for jar in sorted(settings.jars.glob("*.jar")))
    return {"spark.driver.extraClassPath": f"{settings.jars}/*", "spark.jars": jars}


def _reach(spark: SparkSession, store: ObjectStoreSettings) -> None:
    # Set once Spark runs, because what is given to its start can be read by every user in the list of processes.
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    values = {
        **_S3A,
        "fs.s3a.endpoint": store.endpoint,
        "fs.s3a.connection.ssl.enabled": str(urlsplit(store.endpoint).scheme == "https").lower(),
        "fs.s3a.access.key": store.access_key,
        "fs.s3a.secret.key": store.secret_key,
    }
    for name, value in values.items():
        hadoop.set(name, value)
