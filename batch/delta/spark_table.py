"""Reads, writes and maintains a Delta table with Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from batch.delta.delta_rs import NEVER, Merge
from batch.spark.session import configured

EVOLVE = "spark.databricks.delta.schema.autoMerge.enabled"
"""The Spark setting that makes a merge add columns that the table lacks."""

_SMALLEST = "spark.databricks.delta.optimize.minFileSize"
_LARGEST = "spark.databricks.delta.optimize.maxFileSize"
_CHECK_RETENTION = "spark.databricks.delta.retentionDurationCheck.enabled"
_LOG_VACUUM = "spark.databricks.delta.vacuum.logging.enabled"


class SparkTable:
    """The Delta table at `location` (a Hadoop path), accessed with Spark."""

    def __init__(self, spark: SparkSession, location: str) -> None:
        self._spark = spark
        self._location = location

    def read(self, version: int | None = None) -> DataFrame:
        """Return the table's rows at a version (default: the newest)."""
        reader = self._spark.read.format("delta")
        return (reader if version is None else reader.option("versionAsOf", version)).load(self._location)

    def feed(self, first: int, last: int | None = None) -> DataFrame:
        """Return the change data feed from version `first` to version `last` (default: the newest)."""
        reader = self._spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", first)
        return (reader if last is None else reader.option("endingVersion", last)).load(self._location)

    def make(self, schema: StructType, *, partition_by: Sequence[str], properties: Mapping[str, str]) -> None:
        """Create an empty table unless one exists."""
        maker = DeltaTable.createIfNotExists(self._spark).location(self._location).addColumns(schema)
        maker = maker.partitionedBy(*partition_by) if partition_by else maker
        for name, value in properties.items():
            maker = maker.property(name, value)
        maker.execute()

    def append(self, rows: DataFrame) -> None:
        """Append rows, first adding any of their columns that the table lacks."""
        rows.write.format("delta").mode("append").option("mergeSchema", "true").save(self._location)

    def replace(self, rows: DataFrame, partition_by: Sequence[str]) -> None:
        """Overwrite the table's rows and its schema with the given rows and their schema."""
        writer = rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
        writer.partitionBy(*partition_by).save(self._location)

    def merge(self, rows: DataFrame, asked: Merge) -> None:
        """Merge rows into the table under the conditions of a `Merge`."""
        merge = self._table().alias("t").merge(rows.alias("s"), asked.on)
        if asked.delete_when is not None:
            merge = merge.whenMatchedDelete(condition=asked.delete_when)
        if asked.set_when is not None:
            merge = merge.whenMatchedUpdateAll(condition=asked.set_when)
        if asked.insert_when != NEVER:
            merge = merge.whenNotMatchedInsertAll(condition=asked.insert_when)
        merge.execute()

    def delete(self, condition: str) -> None:
        """Delete the rows that satisfy an SQL condition."""
        self._table().delete(condition)

    def have(self, properties: Mapping[str, str]) -> None:
        """Set table properties."""
        listed = ", ".join(f"'{name}' = '{value}'" for name, value in properties.items())
        self._spark.sql(f"ALTER TABLE delta.`{self._location}` SET TBLPROPERTIES ({listed})")

    def compact(self, file_bytes: int) -> None:
        """Combine small files within each partition into files of about `file_bytes` bytes."""
        with configured(self._spark, {_SMALLEST: str(file_bytes * 3 // 4), _LARGEST: str(file_bytes)}):
            self._table().optimize().executeCompaction()

    def vacuum(self, keep_s: float) -> None:
        """Delete data files that only table versions older than `keep_s` seconds need."""
        with configured(self._spark, {_CHECK_RETENTION: "false", _LOG_VACUUM: "false"}):
            self._table().vacuum(keep_s / 3600)

    def _table(self) -> DeltaTable:
        return DeltaTable.forPath(self._spark, self._location)
