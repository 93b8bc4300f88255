"""Rows of the lake, held either by the driver (this Python process) as Arrow, or by Spark.

A run that continues from the previous one has few new rows per table, but every Spark job takes about fifty
milliseconds, no matter how few rows it processes. Small numbers of rows are therefore collected to the driver, where
they are counted, compared and written without a job; larger numbers stay in Spark. Only the package `batch.delta`
distinguishes the two cases.
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
from batch.spark.times import times_in_utc


class Rows:
    """Rows that are held either by the driver, as Arrow, or by Spark.

    Attributes:
        arrow: the rows if the driver holds them, else None; to be used only in `batch.delta`.
    """

    def __init__(
        self, frame: DataFrame | None, *, held: tuple[SparkSession, StructType, pa.Table] | None = None
    ) -> None:
        assert (frame is None) != (held is None), "exactly one of the arguments frame and held must be given"
        self._frame = frame
        self._held = held
        self.arrow = None if held is None else held[2]

    @classmethod
    def of(cls, rows: DataFrame | Rows) -> Rows:
        """Wrap a Spark DataFrame without running a job; return `Rows` unchanged."""
        return rows if isinstance(rows, Rows) else cls(rows)

    @classmethod
    def held(cls, spark: SparkSession, schema: StructType, table: pa.Table) -> Rows:
        """Wrap an Arrow table that the driver holds."""
        return cls(None, held=(spark, schema, table))

    @cached_property
    def frame(self) -> DataFrame:
        """The rows as a Spark DataFrame."""
        if self._held is None:
            assert self._frame is not None
            return self._frame
        spark, schema, table = self._held
        return spark.createDataFrame(table, schema=schema)

    @property
    def schema(self) -> StructType:
        """The columns of the rows with their Spark types."""
        return self.frame.schema if self._held is None else self._held[1]

    @property
    def count_if_known(self) -> int | None:
        """Number of rows; None if counting them would take a Spark job."""
        return None if self.arrow is None else int(self.arrow.num_rows)

    def is_empty(self) -> bool:
        """Whether there are no rows; finding out takes a Spark job if Spark holds the rows."""
        return self.frame.isEmpty() if self.arrow is None else self.arrow.num_rows == 0

    def is_proven_distinct_by(self, names: Sequence[str]) -> bool:
        """Whether no two rows agree in all these columns, with at most one Spark job; False may mean unknown.

        The job counts hashes, which takes a fraction of the time of grouping or sorting many rows. Nothing is proven if
        two different rows happen to have the same hash.
        """
        if self.arrow is not None:
            return bool(self.arrow.group_by(list(names)).aggregate([]).num_rows == self.arrow.num_rows)
        hashes = self.frame.select(F.xxhash64(*names).alias("_hash")).groupBy("_hash").count()
        most = hashes.agg(F.max("count")).first()
        assert most is not None
        return most[0] in (None, 1)

    def is_known_empty_in(self, name: str) -> bool:
        """Whether the list column `name` has only empty lists; also False if finding out would take a Spark job."""
        if self.arrow is None:
            return False
        return not pc.any(pc.greater(pc.list_value_length(self.arrow[name]), 0)).as_py()

    def count_and_values(self, names: Sequence[str]) -> tuple[int, set[object]]:
        """Return the number of rows and the set of values in these columns, with at most one Spark job.

        Times are in UTC.
        """
        if self.arrow is not None:
            return self.arrow.num_rows, {value for name in names for value in self.arrow[name].to_pylist()}
        sets = [
            F.collect_set(F.struct(F.col(name).alias("value"))) for name in names
        ]  # without a struct, it drops NULL
        found = times_in_utc(self.frame.select(*names)).agg(F.count(F.lit(1)), *sets).first()
        assert found is not None
        return found[0], {each["value"] for values in found[1:] for each in values}

    def has_above(self, name: str, limit: int) -> bool:
        """Whether any value of a column of numbers is above `limit`, with at most one Spark job."""
        if self.arrow is not None:
            return bool(pc.any(pc.greater(self.arrow[name], limit)).as_py())
        return not self.frame.where(F.col(name) > limit).isEmpty()

    def nullable_columns(self, names: Sequence[str]) -> set[str]:
        """Return those of the columns that may have NULL, without a Spark job."""
        return {name for name in names if self.arrow is None or self.arrow[name].null_count}

    def select(self, *names: str) -> Rows:
        """Return the rows with only the named columns."""
        if self._held is None:
            return Rows(self.frame.select(*names))
        spark, schema, table = self._held
        return Rows.held(spark, StructType([schema[name] for name in names]), table.select(list(names)))

    def repartitioned(self, names: Sequence[str]) -> Rows:
        """Return the rows, repartitioned so that a single task writes all rows that agree in these columns."""
        return Rows(self.frame.repartition(*names)) if names and self._held is None else self

    def collect_if_small(self) -> Rows:
        """Return the rows, collected to the driver unless they exceed its limit; this takes one Spark job."""
        if self._held is not None:
            return self
        table = self.frame.limit(sizes.DRIVER_ROWS_MAX + 1).toArrow()
        if not sizes.fits_driver(table.num_rows):
            return self
        return Rows.held(self.frame.sparkSession, self.frame.schema, table)

    @contextlib.contextmanager
    def persisted(self) -> Iterator[Rows]:
        """Yield the rows, cached by Spark during the `with` block so that they are computed only once."""
        kept = self.frame.persist()
        try:
            yield Rows(kept)
        finally:
            kept.unpersist()

    @contextlib.contextmanager
    def collected_or_persisted(self) -> Iterator[Rows]:
        """Yield the rows, collected to the driver if they are few, else cached by Spark during the `with` block."""
        found = self.collect_if_small()
        if found.arrow is not None:
            yield found
            return
        with found.persisted() as kept:
            yield kept
