"""Create small Spark frames through Arrow, because `createDataFrame` on a list would start Python workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType


def small_frame(spark: SparkSession, rows: Iterable[tuple[Any, ...]], ddl: str) -> DataFrame:
    """Create a frame of the given rows; `ddl` declares the columns and their types."""
    schema = StructType.fromDDL(ddl)
    assert isinstance(schema, StructType)
    named = [dict(zip(schema.names, row, strict=True)) for row in rows]
    return spark.createDataFrame(pa.Table.from_pylist(named, schema=to_arrow_schema(schema, timezone="UTC")), schema)
