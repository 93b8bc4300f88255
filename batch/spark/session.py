"""The Spark session: configured for Delta tables on S3A, with a log store that is safe for concurrent writers.

All layers share one Spark process, because starting Spark and loading S3A and Delta takes longer than most of the work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pyspark.sql import SparkSession

from batch.spark.class_data_archive import java_options
from batch.spark.jvm import start_java
from batch.spark.trust import trust
from config.settings import BatchSettings, CacheSettings, ObjectStoreSettings, SparkSettings

LOG_STORE = "millrace.lake.PutIfAbsentLogStore"

# The default garbage collector runs concurrently, which takes a fifth of two cores once the heap is half full.
_JAVA = "-Duser.timezone=UTC -XX:+UseParallelGC"
# A short run executes mostly Spark's own code, each part only a few times, so the optimising compiler would spend two
# fifths of the processor time on code that is hardly used again. Without that compiler, Java by default reserves only a
# fifth of the usual space for compiled code. Spark fills that within a run, after which nothing more would be compiled.
_COMPILED_SOON = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
# Java optimises code after ten times as many executions as by default, because it is not worth optimising the code for
# query planning, which is executed a few thousand times.
_OPTIMISED_LATE = (
    "-XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 "
    "-XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000"
)
_LOGGING = Path(__file__).with_name("log4j2.properties").resolve()
_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # Delta's own log store for S3A loses commits when two processes write to a table (see the Java class).
    "spark.delta.logStore.s3a.impl": LOG_STORE,
    # Number of Spark partitions for the file list of a Delta table; the default of 50 suits clusters.
    "spark.databricks.delta.snapshotPartitions": "2",
}
_S3A = {
    "fs.s3a.endpoint.region": "us-east-1",
    "fs.s3a.path.style.access": "true",
    "fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
    "fs.s3a.fast.upload.buffer": "bytebuffer",
    # By default S3A retries for minutes when the storage is unreachable; each layer is itself tried three times.
    "fs.s3a.attempts.maximum": "3",
    "fs.s3a.retry.limit": "1",
    "fs.s3a.retry.interval": "200ms",
    "fs.s3a.connection.establish.timeout": "5s",
    "fs.s3a.connection.timeout": "60s",
}


class Sessions:
    """A pool of Spark sessions that share one Spark context; each session has its own settings and temporary views."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self._free = [spark]

    @contextlib.contextmanager
    def one(self) -> Iterator[SparkSession]:
        """Yield a session for exclusive use inside the `with` block; create one if no session is free."""
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
    """Change settings of a Spark session inside the `with` block, and restore them on exit."""
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
    """Start a Spark session, or return the running one.

    Args:
        lake_store: the object storage behind `s3a://`; None if all tables are local files.
        records_class_data: make Java write a class-data archive (`batch.spark.class_data_archive`) on exit, if there is
            none yet.
        optimises: enable Java's optimising compiler, which pays off for a service and for work on whole tables.
    """
    class_data = ""
    if settings.class_data:
        class_data = java_options(settings, CacheSettings.read().expanded(), records=records_class_data)
    java = " ".join((_JAVA, _OPTIMISED_LATE if optimises else _COMPILED_SOON, class_data, _logging()))
    values = {"spark.master": settings.master, "spark.app.name": app}
    values |= {**_settings(settings, java), **_jars(settings), **_authentication(settings), **_DELTA}
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
        # Rows are cached only briefly, so choosing a compression for them takes longer than it saves.
        "spark.sql.inMemoryColumnarStorage.compressed": "false",
        # Most joins have a small and a large side: a hash table of the small side avoids sorting the large one.
        "spark.sql.join.preferSortMergeJoin": "false",
        # Number of generated and compiled classes that Spark caches. A run over a dataset needs more than the default
        # of 100, so with that limit each run would generate and compile all of them again.
        "spark.sql.codegen.cache.maxEntries": "3000",
        "spark.sql.parquet.compression.codec": "zstd",
        # Of INT96, the default, delta-rs makes nanoseconds, which end in the year 2262: later times would change.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # Number of tasks for listing many files; with the default of 10,000 a vacuum takes half a minute.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "16",
    }


def _logging() -> str:
    """Return the Java options with which Spark logs to `spark.log` in the log folder."""
    file = BatchSettings.read().log_folder.absolute() / "spark.log"
    return f'-Dlog4j2.configurationFile={_LOGGING.as_uri()} "-Dmillrace.spark.log={file}"'


def _authentication(settings: SparkSettings) -> dict[str, str]:
    """Return the settings that keep other users of this machine away from the driver, which has the storage's keys.

    A local Spark makes a secret of its own. On a cluster all nodes must share one, so its administrator decides.
    """
    return {"spark.authenticate": "true"} if settings.master.startswith("local") else {}


def _jars(settings: SparkSettings) -> dict[str, str]:
    """Return the Spark settings for the jars: the class path and, on a cluster, the files to send to the executors."""
    if settings.master.startswith("local"):
        return {"spark.driver.extraClassPath": f"{settings.jars}/*"}
    jars = ",".join(str(jar) for jar in sorted(settings.jars.glob("*.jar")))
    return {"spark.driver.extraClassPath": f"{settings.jars}/*", "spark.jars": jars}


def _reach(spark: SparkSession, store: ObjectStoreSettings) -> None:
    if store.ca_file is not None:
        trust(spark, store.ca_file)
    # These are set after Spark has started, because every user of the host can read start options in the process list.
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
