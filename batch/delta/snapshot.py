"""Rows of a table as it was at one version, all of them or those that some keys ask for.

A few rows of a Delta table are looked up in this process (`batch.delta.delta_rs`) where that can be done, and else by
Spark: the answer is the same.
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
"""A column of a table, and the one of the keys that it has to be equal to."""


class Source(Protocol):
    """A table as a query reads it."""

    @property
    def schema(self) -> StructType:
        """Its columns."""

    @property
    def frame(self) -> DataFrame:
        """All rows, for Spark."""

    def read(self, *, columns: Sequence[str] = (), where: str | None = None) -> Rows:
        """The rows for which a condition holds, with these columns (default: all); in the driver if they are few."""

    def with_keys(self, keys: Rows, on: Pairs, *, columns: Sequence[str] = (), where: str | None = None) -> Rows:
        """Of these rows those that have one of the keys."""


@dataclass(frozen=True, eq=False)
class FrameSource:
    """A source that only Spark can read."""

    frame: DataFrame

    @property
    def schema(self) -> StructType:
        """Its columns."""
        return self.frame.schema

    def read(self, *, columns: Sequence[str] = (), where: str | None = None) -> Rows:
        """See `Source`."""
        found = self.frame if where is None else self.frame.where(where)
        return Rows.of(found.select(*columns) if columns else found).collect_if_small()

    def with_keys(self, keys: Rows, on: Pairs, *, columns: Sequence[str] = (), where: str | None = None) -> Rows:
        """See `Source`."""
        others = keys.frame.select(*(name for _, name in on)).toDF(*(f"_asked_{own}" for own, _ in on))
        found = self.frame if where is None else self.frame.where(where)
        found = found.join(others, [found[own] == others[f"_asked_{own}"] for own, _ in on], "left_semi")
        return Rows.of(found.select(*columns) if columns else found).collect_if_small()


class Versions(Protocol):
    """A table whose versions can be read."""

    spark: SparkSession

    def read(self, version: int) -> DataFrame:
        """The rows of a version."""

    def delta_rs(self, version: int) -> DeltaRsTable | None:
        """A version for this process; None if it is too large, or only Spark can reach it."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A table of the lake at one version."""

    table: Versions
    version: int

    @cached_property
    def frame(self) -> DataFrame:
        """All rows; held by the driver if they are few."""
        found = self._looked_up({}, (), None)
        return self.table.read(self.version) if found is None else found.frame

    @cached_property
    def schema(self) -> StructType:
        """Its columns."""
        delta_rs = self._delta_rs()
        return self.frame.schema if delta_rs is None else delta_rs.schema

    def read(self, *, columns: Sequence[str] = (), where: str | None = None) -> Rows:
        """See `Source`."""
        found = self._looked_up({}, columns, where)
        return FrameSource(self.frame).read(columns=columns, where=where) if found is None else found

    def with_keys(self, keys: Rows, on: Pairs, *, columns: Sequence[str] = (), where: str | None = None) -> Rows:
        """See `Source`."""
        found = None
        if keys.arrow is not None:
            found = self._looked_up({own: keys.arrow[name] for own, name in on}, columns, where)
        if found is None:
            return FrameSource(self.frame).with_keys(keys, on, columns=columns, where=where)
        # Looked up was each column by itself.
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
