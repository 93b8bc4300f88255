"""Lake peer: a typical Spark pipeline that reads all tables in full over JDBC and overwrites all layers as Parquet.

The pipeline does not use Delta. It has the usual tuning: one session for all requested layers, few shuffle partitions,
no counts, one read and one write per table, one file per day for the orders, and the output committer that renames
files only once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812

from bench.peers.lake_job import (
    DIMENSIONS,
    FACTS,
    INFERRED,
    KEY_OF,
    KEYS,
    PARTITION,
    TABLES,
    UNKNOWN,
    arguments,
    loaded,
)

FETCH_ROWS = 10_000
READERS = 2
"""Number of parallel connections that read the table `customers`."""


class Pipeline:
    """Builds Bronze, Silver and Gold for one job file."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self._job = job
        self._spark = session(job)

    def run(self, layers: str) -> None:
        """Build the given layers (comma-separated), then stop Spark."""
        for layer in layers.split(","):
            {"bronze": self.bronze, "silver": self.silver, "gold": self.gold}[layer]()
        self._spark.stop()

    def bronze(self) -> None:
        """Copy the source tables to Bronze, adding only the time of ingestion."""
        for table in TABLES:
            rows = self._read(table).withColumn("_ingested_at", F.current_timestamp())
            self._write(rows, "bronze", table)

    def silver(self) -> None:
        """Write the newest Bronze row of each key to Silver."""
        for table in TABLES:
            newest = Window.partitionBy(*KEYS[table]).orderBy(F.desc("_ingested_at"))
            rows = self._load("bronze", table).withColumn("_rank", F.row_number().over(newest))
            self._write(rows.where("_rank = 1").drop("_rank", "_ingested_at"), "silver", table)

    def gold(self) -> None:
        """Build the tables of the star schema in Gold."""
        for table in TABLES:
            self._load("silver", table).createOrReplaceTempView(table)
        for name in DIMENSIONS:
            self._write(self._dimension(name), "gold", f"dimensions/{name}")
        for name in FACTS:
            rows = self._queried(name)
            if PARTITION in rows.columns and name == "fact_orders":
                self._write(rows.repartition(PARTITION), "gold", f"facts/{name}", PARTITION)
            else:
                self._write(rows, "gold", f"facts/{name}")

    def _dimension(self, name: str) -> DataFrame:
        key = KEY_OF[name]
        rows = self._queried(name)
        more = self._spark.range(1).select(F.lit(UNKNOWN).alias(key))
        if name not in INFERRED:
            return rows.unionByName(more, allowMissingColumns=True)
        named = self._spark.table("orders").select(key).distinct().join(rows.select(key), key, "left_anti")
        known = rows.unionByName(more, allowMissingColumns=True).withColumn("is_inferred", F.lit(False))
        return known.unionByName(named.withColumn("is_inferred", F.lit(True)), allowMissingColumns=True)

    def _queried(self, name: str) -> DataFrame:
        rows = self._spark.sql(Path(self._job["queries"], f"{name}.sql").read_text())
        return rows.drop(*(column for column in rows.columns if column.startswith("_")))  # not part of Gold

    def _read(self, table: str) -> DataFrame:
        source = self._job["database"]
        # With `jdbc:mariadb`, Spark would quote column names in a way that MariaDB interprets as string literals.
        url = f"jdbc:mysql://{source['host']}:{source['port']}/{source['name']}?permitMysqlScheme"
        reader = self._spark.read.format("jdbc").option("url", url).option("driver", "org.mariadb.jdbc.Driver")
        reader = reader.option("user", source["user"]).option("password", source["password"])
        reader = reader.option("sessionInitStatement", "SET time_zone = '+00:00'").option("fetchsize", FETCH_ROWS)
        if table == "customers":
            bounds = {"lowerBound": 1, "upperBound": self._job["customers"] + 1}
            reader = reader.option("partitionColumn", "id").option("numPartitions", READERS).options(**bounds)
        return reader.option("dbtable", table).load()

    def _write(self, rows: DataFrame, layer: str, name: str, *partition_by: str) -> None:
        rows.write.mode("overwrite").partitionBy(*partition_by).parquet(self._path(layer, name))

    def _load(self, layer: str, name: str) -> DataFrame:
        return self._spark.read.parquet(self._path(layer, name))

    def _path(self, layer: str, name: str) -> str:
        return f"s3a://{layer}/{self._job['folder']}/{name}"


def session(job: Mapping[str, Any]) -> SparkSession:
    """Create a Spark session with the same settings as Millrace's session, except those for Delta."""
    spark, store = job["spark"], job["store"]
    java = "-Duser.timezone=UTC -XX:+UseParallelGC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
    settings = {
        "spark.driver.memory": spark["memory"],
        "spark.driver.host": "127.0.0.1",
        "spark.driver.extraClassPath": f"{spark['jars']}/*",
        "spark.driver.extraJavaOptions": java,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": spark["shuffle_partitions"],
        "spark.sql.codegen.cache.maxEntries": "3000",
        "spark.sql.inMemoryColumnarStorage.compressed": "false",
        "spark.sql.join.preferSortMergeJoin": "false",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
        "spark.hadoop.fs.s3a.endpoint": store["endpoint"],
        "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.fast.upload.buffer": "bytebuffer",
        "spark.hadoop.fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        "spark.hadoop.fs.s3a.access.key": store["access_key"],
        "spark.hadoop.fs.s3a.secret.key": store["secret_key"],
    }
    builder = SparkSession.builder.master(spark["master"]).appName("plain_parquet")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


if __name__ == "__main__":
    given = arguments()
    Pipeline(loaded(given.job)).run(given.layers)
