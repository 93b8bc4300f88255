"""Where a Delta table is, for delta-rs: how it is reached, opened and made there."""

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
_S3: Final = {
    "aws_allow_http": "true",
    "aws_conditional_put": "etag",
    "aws_virtual_hosted_style_request": "false",
    "connect_timeout": "5s",
    "timeout": "60s",
    "max_retries": "2",
}


class DeltaRsLocation:
    """The table at `location`, as Hadoop spells it. Its log is read once, and afterwards only what is new in it.

    Of a table that is deleted meanwhile and made anew nothing is noticed: this is for one run.
    """

    def __init__(self, spark: SparkSession, location: str) -> None:
        self._spark = spark
        self._location = location
        self._newest: DeltaRsTable | None = None
        self._older: DeltaRsTable | None = None

    def newest(self) -> DeltaRsTable | None:
        """The newest version, until it is asked for again; None if only Spark can reach it.

        Raises:
            TableNotFoundError: there is no table.
        """
        found, self._newest = self._newest, None
        if found is not None:
            try:
                found.go_on()
            except DeltaError:  # its place in the log was cleaned away
                found = None
        self._newest = found or self._opened()
        return self._newest

    def at(self, version: int) -> DeltaRsTable | None:
        """This version, until anything else is asked; None if only Spark can reach it."""
        for found in (self._newest, self._older):
            if found is not None and found.version() == version:
                return found
        self._older = self._opened(version)
        return self._older

    def is_reachable(self) -> bool:
        """Whether delta-rs can reach the place; else only Spark can."""
        return self._options is not None

    def create(self, schema: StructType, *, partition_by: Sequence[str], properties: Mapping[str, str]) -> None:
        """Make an empty table if there is none, at a place that `is_reachable`.

        Raises:
            DeltaRsError: delta-rs could not make it.
        """
        assert self._options is not None, f"{self._location} is out of reach of delta-rs"
        columns = StructType([StructField(field.name, field.dataType) for field in schema])
        # Another run that made it at the same moment has made the same table.
        with named_errors("make", self._location), contextlib.suppress(CommitFailedError):
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
        """What delta-rs has to know of the storage, from what S3A was told; None if it can't reach it."""
        if self._location.startswith(_LOCAL):
            return {}
        if not self._location.startswith("s3a:"):
            return None
        hadoop: Any = self._spark.sparkContext._jsc.hadoopConfiguration()
        bucket = f"fs.s3a.bucket.{urlsplit(self._location).netloc}"
        values = {name: hadoop.get(f"{bucket}.{key}", hadoop.get(f"fs.s3a.{key}")) for name, key in _FROM_S3A.items()}
        return None if None in values.values() else {**_S3, **values}
