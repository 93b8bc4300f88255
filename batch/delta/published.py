"""Reads a small Delta table at a published version, without Spark."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from deltalake import DeltaTable

from batch.delta.delta_rs import DeltaRsTable, named_errors
from batch.delta.delta_rs_location import S3_OPTIONS
from batch.spark.trust import trust_without_spark
from config.settings import ObjectStoreSettings


class PublishedTable:
    """The Delta table at an `s3a://` or `file://` URI, at one version.

    Raises:
        DeltaRsError: the table cannot be read.
    """

    def __init__(self, uri: str, version: int, store: ObjectStoreSettings) -> None:
        if store.ca_file is not None:
            trust_without_spark(store.ca_file)
        options = {
            **S3_OPTIONS,
            "aws_endpoint_url": store.endpoint,
            "aws_region": "us-east-1",
            "aws_access_key_id": store.access_key,
            "aws_secret_access_key": store.secret_key,
        }
        is_local = urlsplit(uri).scheme == "file"
        with named_errors("open", uri):
            self._table = DeltaTable(
                uri.removeprefix("file://"), version=version, storage_options={} if is_local else options
            )

    @property
    def mark(self) -> str:
        """Identifies the table and its version: a table that was made again has another one."""
        return f"{self._table.metadata().id}/{self._table.version()}"

    @property
    def schema(self) -> pa.Schema:
        """The columns with their Arrow types."""
        return pa.schema(self._table.schema().to_arrow())

    def parts(self) -> list[Any]:
        """Return a fragment of an Arrow dataset for each data file, in an order that the version determines.

        Raises:
            DeltaRsError: the table has features that only Spark knows.
        """
        with named_errors("read", self._table.table_uri):
            fragments = self._table.to_pyarrow_dataset().get_fragments()
            return sorted(fragments, key=lambda fragment: str(fragment.path))

    def rows(self, *, most: int) -> pa.Table | None:
        """Return all rows; None if there are more than `most`."""
        columns = [field.name for field in self._table.schema().fields]
        return DeltaRsTable(self._table).rows({}, columns=columns, where=None, most=most)
