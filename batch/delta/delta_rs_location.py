"""Opens and creates the Delta table at a location with delta-rs, without Spark."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlsplit

from deltalake import DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError
from pyspark.sql import SparkSession
from pyspark.sql.types import StructField, StructType

from batch.delta.delta_rs import DeltaRsTable, named_errors

_LOCAL: Final = "file:"
_FROM_S3A: Final = {
    "aws_endpoint_url": "endpoint",
    "aws_region": "endpoint.region",
    "aws_access_key_id": "access.key",
    "aws_secret_access_key": "secret.key",
}
S3_OPTIONS: Final = {
    "aws_allow_http": "true",
    "aws_conditional_put": "etag",
    "aws_virtual_hosted_style_request": "false",
    "connect_timeout": "5s",
    "timeout": "60s",
    "max_retries": "2",
}


class DeltaRsLocation:
    """A location, given as a Hadoop path, at which delta-rs opens or creates a Delta table.

    The table's log is read once; later calls read only new log entries. Use a new object for each run, because an
    object does not notice if the table is deleted and created again.
    """

    def __init__(self, spark: SparkSession, location: str) -> None:
        self._spark = spark
        self._location = location
        self._newest: DeltaRsTable | None = None
        self._older: DeltaRsTable | None = None

    def newest(self) -> DeltaRsTable | None:
        """Return the table at its newest version, valid until the next call; None if only Spark can reach the table.

        Raises:
            TableNotFoundError: the table does not exist.
        """
        found, self._newest = self._newest, None
        if found is not None:
            try:
                found.go_on()
            except DeltaError:  # the log entries that follow the version read last have been deleted
                found = None
        self._newest = found or self._opened()
        return self._newest

    def at(self, version: int) -> DeltaRsTable | None:
        """Return the table at a version, valid until the next method call; None if only Spark can reach the table."""
        for found in (self._newest, self._older):
            if found is not None and found.version() == version:
                return found
        self._older = self._opened(version)
        return self._older

    def is_reachable(self) -> bool:
        """Whether delta-rs, and not only Spark, can reach the location."""
        return self._options is not None

    def create(self, schema: StructType, *, partition_by: Sequence[str], properties: Mapping[str, str]) -> None:
        """Create an empty table unless one exists; the location must be reachable (`is_reachable`).

        Raises:
            DeltaRsError: delta-rs could not create the table.
        """
        assert self._options is not None, f"delta-rs cannot reach {self._location}"
        columns = StructType([StructField(field.name, field.dataType) for field in schema])
        # A conflict means that another run has created the same table at the same time.
        with named_errors("create", self._location), contextlib.suppress(CommitFailedError):
            DeltaTable.create(
                self._path,
                Schema.from_json(columns.json()),
                mode="ignore",
                partition_by=list(partition_by),
                configuration=dict(properties),
                storage_options=self._options,
                raise_if_key_not_exists=False,
            )

    def _opened(self, version: int | None = None) -> DeltaRsTable | None:
        if self._options is None:
            return None
        return DeltaRsTable(DeltaTable(self._path, version=version, storage_options=self._options))

    @property
    def _path(self) -> str:
        return self._location.removeprefix(_LOCAL)

    @cached_property
    def _options(self) -> dict[str, str] | None:
        """The storage options for delta-rs, taken from the S3A settings; None if delta-rs cannot reach the table."""
        if self._location.startswith(_LOCAL):
            return {}
        if not self._location.startswith("s3a:"):
            return None
        hadoop: Any = self._spark.sparkContext._jsc.hadoopConfiguration()
        bucket = f"fs.s3a.bucket.{urlsplit(self._location).netloc}"
        values = {name: hadoop.get(f"{bucket}.{key}", hadoop.get(f"fs.s3a.{key}")) for name, key in _FROM_S3A.items()}
        return None if None in values.values() else {**S3_OPTIONS, **values}
