"""Reads a Delta table at one version: all rows, or only those with given keys.

Small numbers of rows are read in-process with delta-rs if possible (`batch.delta.delta_rs`), and otherwise by Spark;
the result is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from batch.delta import sizes
from batch.delta.delta_rs import DeltaRsTable
from batch.delta.rows import Rows

Pairs = Sequence[tuple[str, str]]
"""Pairs of a table column and a key column, whose values must be equal for a row to match a key."""


class Source(Protocol):
    """A table from which a query reads rows."""

    @property
    def schema(self) -> StructType:
        """The table's columns with their Spark types."""

    @property
    def frame(self) -> DataFrame:
        """All rows of the table, as a Spark DataFrame."""

    def read(self, *, columns: Sequence[str] = (), where: str | None = None) -> Rows:
        """Return the rows that satisfy `where`, collected to the driver if they are few.

        Args:
            columns: columns to return (default: all).
            where: condition in SQL that both DataFusion (in delta-rs) and Spark accept (default: all rows).
        """

    def with_keys(self, keys: Rows, on: Pairs, *, columns: Sequence[str] = (), where: str | None = None) -> Rows:
        """Return the rows that match a key in every column pair of `on`; see `read` for the other arguments.

        NULL matches NULL.
        """


@dataclass(frozen=True, eq=False)
class FrameSource:
    """A `Source` that reads from a Spark DataFrame."""

    frame: DataFrame

    @property
    def schema(self) -> StructType:
        """The columns of the DataFrame with their Spark types."""
        return self.frame.schema

    def read(self, *, columns: Sequence[str] = (), where: str | None = None) -> Rows:
        """Return the rows that satisfy `where`; see `Source.read`."""
        found = self.frame if where is None else self.frame.where(where)
        return Rows.of(found.select(*columns) if columns else found).collect_if_small()

    def with_keys(self, keys: Rows, on: Pairs, *, columns: Sequence[str] = (), where: str | None = None) -> Rows:
        """Return the rows that match any of the keys; see `Source.with_keys`."""
        others = keys.frame.select(*(name for _, name in on)).toDF(*(f"_asked_{own}" for own, _ in on))
        found = self.frame if where is None else self.frame.where(where)
        found = found.join(others, [found[own].eqNullSafe(others[f"_asked_{own}"]) for own, _ in on], "left_semi")
        return Rows.of(found.select(*columns) if columns else found).collect_if_small()


class Versions(Protocol):
    """A Delta table that can be read at any of its versions."""

    spark: SparkSession

    def read(self, version: int) -> DataFrame:
        """Return the rows of a version, as a Spark DataFrame."""

    def delta_rs(self, version: int) -> DeltaRsTable | None:
        """Return the table at a version, for reading with delta-rs; None if Spark must read it."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A `Source` that reads a lake table at one version."""

    table: Versions
    version: int

    @cached_property
    def frame(self) -> DataFrame:
        """All rows as a Spark DataFrame, read with delta-rs if they are few."""
        found = self._looked_up({}, (), None)
        return self.table.read(self.version) if found is None else found.frame

    @cached_property
    def schema(self) -> StructType:
        """The table's columns with their Spark types."""
        delta_rs = self._delta_rs()
        return self.frame.schema if delta_rs is None else delta_rs.schema

    def read(self, *, columns: Sequence[str] = (), where: str | None = None) -> Rows:
        """Return the rows that satisfy `where`; see `Source.read`."""
        found = self._looked_up({}, columns, where)
        return FrameSource(self.frame).read(columns=columns, where=where) if found is None else found

    def with_keys(self, keys: Rows, on: Pairs, *, columns: Sequence[str] = (), where: str | None = None) -> Rows:
        """Return the rows that match any of the keys; see `Source.with_keys`."""
        found = None
        if keys.arrow is not None:
            found = self._looked_up({own: keys.arrow[name] for own, name in on}, columns, where)
        if found is None:
            return FrameSource(self.frame).with_keys(keys, on, columns=columns, where=where)
        # The lookup compared each column separately, so keys of several columns must still be compared as a whole.
        return found if len(on) == 1 else FrameSource(found.frame).with_keys(keys, on, columns=columns)

    def _looked_up(
        self, among: Mapping[str, pa.ChunkedArray], columns: Sequence[str], where: str | None
    ) -> Rows | None:
        delta_rs = self._delta_rs()
        if delta_rs is None:
            return None
        schema = delta_rs.schema
        if columns:
            schema = StructType(
                [schema[name] for name in dict.fromkeys([*columns, *(among if len(among) > 1 else ())])]
            )
        found = delta_rs.rows(among, columns=schema.names, where=where, most=sizes.DRIVER_ROWS_MAX)
        return None if found is None else Rows.held(self.table.spark, schema, found)

    def _delta_rs(self) -> DeltaRsTable | None:
        return self.table.delta_rs(self.version)
