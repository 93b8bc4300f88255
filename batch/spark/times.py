"""Times that Python gets from Spark: PySpark gives those of type TIMESTAMP in the zone of the machine."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql import types as T  # noqa: N812


def times_in_utc(rows: DataFrame) -> DataFrame:
    """Return the rows with times of which Python gets the value in UTC, without a zone, whatever zone the machine has.

    Columns may have the same name, as in the result of a query.
    """
    fields = rows.schema.fields
    numbered = rows.toDF(*(f"_{number}" for number in range(len(fields))))
    columns = []
    for number, field in enumerate(fields):
        column, kind = F.col(f"_{number}"), _without_zone(field.dataType)
        columns.append((column if kind == field.dataType else column.cast(kind)).alias(field.name))
    return numbered.select(*columns)


def _without_zone(kind: T.DataType) -> T.DataType:
    """Return the type with TIMESTAMP_NTZ instead of TIMESTAMP; a cast takes the time in the session's zone, UTC."""
    if isinstance(kind, T.TimestampType):
        return T.TimestampNTZType()
    if isinstance(kind, T.ArrayType):
        return T.ArrayType(_without_zone(kind.elementType), kind.containsNull)
    if isinstance(kind, T.MapType):
        return T.MapType(_without_zone(kind.keyType), _without_zone(kind.valueType), kind.valueContainsNull)
    if isinstance(kind, T.StructType):
        return T.StructType([T.StructField(f.name, _without_zone(f.dataType), f.nullable) for f in kind.fields])
    return kind
