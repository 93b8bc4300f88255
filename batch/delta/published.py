"""Reads a small Delta table at a published version, without Spark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from pyarrow.dataset import ParquetReadOptions, get_partition_keys

from batch.delta.delta_rs import DeltaRsTable, named_errors
from batch.delta.delta_rs_location import S3_OPTIONS
from batch.errors import BatchError
from batch.spark.trust import trust_without_spark
from config.settings import ObjectStoreSettings

_AS_MICROSECONDS: Final = ParquetReadOptions(coerce_int96_timestamp_unit="us")
"""Spark has written times as INT96, of which Arrow makes nanoseconds by default: those end in the year 2262."""


@dataclass(frozen=True)
class TablePart:
    """The rows of one data file, with the columns of the whole table.

    A file lacks the columns by which the table is partitioned, and those that were added after it was written.
    """

    fragment: Any
    schema: pa.Schema

    def to_table(self, columns: list[str], filter: Any = None) -> pa.Table:
        """Return the rows that satisfy `filter`, an expression of Arrow (None: all), with the named columns."""
        return self.fragment.to_table(schema=self.schema, columns=columns, filter=filter)


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

    def parts(self) -> list[TablePart]:
        """Return a part for each data file, in an order that the version determines.

        Raises:
            BatchError: the table has features that only Spark knows.
            DeltaRsError: the table cannot be read.
        """
        self._check_readable("query the table with `millrace lake sql`")
        with named_errors("read", self._table.table_uri):
            dataset = self._table.to_pyarrow_dataset(parquet_read_options=_AS_MICROSECONDS)
            fragments = sorted(dataset.get_fragments(), key=lambda fragment: str(fragment.path))
            return [TablePart(_without_statistics(each, dataset.schema), dataset.schema) for each in fragments]

    def rows(self, *, most: int) -> pa.Table | None:
        """Return all rows; None if there are more than `most`.

        Raises:
            BatchError: the table has features that only Spark knows.
            DeltaRsError: the table cannot be read.
        """
        self._check_readable("delete its folder and run again, which builds the table without them")
        columns = [field.name for field in self._table.schema().fields]
        return DeltaRsTable(self._table).rows({}, columns=columns, where=None, most=most)

    def _check_readable(self, cure: str) -> None:
        if unknown := DeltaRsTable(self._table).unreadable_features():
            raise BatchError(
                f"{self._table.table_uri} has features that only Spark reads ({', '.join(unknown)}): {cure}"
            )


def _without_statistics(fragment: Any, schema: pa.Schema) -> Any:
    """Return a fragment of which only the values of the partition columns are known.

    Of a column without values, delta-rs states that it is at least NULL, so that Arrow finds no row with `IS NULL`.
    """
    found = None
    for name, value in get_partition_keys(fragment.partition_expression).items():
        of = pc.field(name)
        one = of.is_null() if value is None else of == pa.scalar(value, schema.field(name).type)
        found = one if found is None else found & one
    return fragment.format.make_fragment(fragment.path, fragment.filesystem, partition_expression=found)
