"""Rows of the lake, held by the driver or by Spark.

A run that goes on from the last one has few rows in each table, and every Spark job costs some fifty milliseconds
however few rows it has. So few rows are collected to the driver, where they are counted, compared and written without a
job; many rows stay with Spark. Only this package knows which of the two it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import StructType

from batch.delta import sizes


class Rows:
    """Rows that either the driver holds, as Arrow, or Spark.

    Attributes:
        arrow: the rows if the driver holds them, for `batch.delta` only; None if Spark does.
    """

    def __init__(
        self, frame: DataFrame | None, *, held: tuple[SparkSession, StructType, pa.Table] | None = None
    ) -> None:
        assert (frame is None) != (held is None), "either Spark or the driver holds the rows"
        self._frame = frame
        self._held = held
        self.arrow = None if held is None else held[2]

    @classmethod
    def of(cls, rows: DataFrame | Rows) -> Rows:
        """The rows of a frame, without a job; rows are returned as they are."""
        return rows if isinstance(rows, Rows) else cls(rows)

    @classmethod
    def held(cls, spark: SparkSession, schema: StructType, table: pa.Table) -> Rows:
        """Rows that the driver holds."""
        return cls(None, held=(spark, schema, table))

    @cached_property
    def frame(self) -> DataFrame:
        """The rows for Spark."""
        if self._held is None:
            assert self._frame is not None
            return self._frame
        spark, schema, table = self._held
        return spark.createDataFrame(table, schema=schema)

    @property
    def schema(self) -> StructType:
        """The columns."""
        return self.frame.schema if self._held is None else self._held[1]

    @property
    def count_if_known(self) -> int | None:
        """Number of rows; None if only a job could count them."""
        return None if self.arrow is None else int(self.arrow.num_rows)

    def is_empty(self) -> bool:
        """Whether there are no rows; a job if Spark holds them."""
        return self.frame.isEmpty() if self.arrow is None else self.arrow.num_rows == 0

    def is_known_distinct_by(self, names: Sequence[str]) -> bool:
        """Whether no two rows have the same values in these columns; False if only a job could find out."""
        if self.arrow is None:
            return False
        return bool(self.arrow.group_by(list(names)).aggregate([]).num_rows == self.arrow.num_rows)

    def is_known_empty_in(self, name: str) -> bool:
        """Whether the column `name`, of lists, has only empty ones; False if only a job could find out."""
        if self.arrow is None:
            return False
        return not pc.any(pc.greater(pc.list_value_length(self.arrow[name]), 0)).as_py()

    def count_and_values(self, names: Sequence[str]) -> tuple[int, set[object]]:
        """Number of rows, and every value but NULL that stands in one of these columns; in one job at most."""
        if self.arrow is not None:
            values = {value for name in names for value in self.arrow[name].to_pylist()}
            return self.arrow.num_rows, values - {None}
        found = self.frame.agg(F.count(F.lit(1)), *map(F.collect_set, names)).first()
        assert found is not None
        return found[0], {value for values in found[1:] for value in values}

    def select(self, *names: str) -> Rows:
        """Some columns of the same rows."""
        if self._held is None:
            return Rows(self.frame.select(*names))
        spark, schema, table = self._held
        return Rows.held(spark, StructType([schema[name] for name in names]), table.select(list(names)))

    def repartitioned(self, names: Sequence[str]) -> Rows:
        """The same rows, to be written by one task for each combination of values in these columns."""
        return Rows(self.frame.repartition(*names)) if names and self._held is None else self

    def collect_if_small(self) -> Rows:
        """The same rows, held by the driver unless they are more than it may hold; one job if Spark holds them."""
        if self._held is not None:
            return self
        table = self.frame.limit(sizes.DRIVER_ROWS_MAX + 1).toArrow()
        if not sizes.fits_driver(table.num_rows):
            return self
        return Rows.held(self.frame.sparkSession, self.frame.schema, table)

    @contextlib.contextmanager
    def persisted(self) -> Iterator[Rows]:
        """The same rows, kept by Spark in here so that they are worked out once."""
        kept = self.frame.persist()
        try:
            yield Rows(kept)
        finally:
            kept.unpersist()

    @contextlib.contextmanager
    def collected_or_persisted(self) -> Iterator[Rows]:
        """The same rows, held by the driver if they are few, and else kept by Spark in here."""
        found = self.collect_if_small()
        if found.arrow is not None:
            yield found
            return
        with found.persisted() as kept:
            yield kept
