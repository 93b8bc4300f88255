"""Changes the types of a table's columns to wider ones, in the table's metadata: no data file is rewritten.

A wider type holds every value of the former one: a larger whole number, or a decimal with as many digits on either
side of the point. Old files keep their narrow values, which Delta's feature `typeWidening` converts when it reads them.
delta-rs does not know this feature, so Spark reads and writes such a table from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pyspark.sql import types as T  # noqa: N812
from pyspark.sql.types import DataType, StructType

from batch.delta.log import TYPE_WIDENING, DeltaLog
from batch.delta.table import LakeTable
from batch.delta.writer import SPARK, SPARK_ONLY, WRITER

_WHOLE: Final[Mapping[type[DataType], int]] = {T.ByteType: 3, T.ShortType: 5, T.IntegerType: 10, T.LongType: 20}
"""The digits that Delta reserves for whole numbers; a type is wider than those with fewer."""


def is_wider(new: DataType, old: DataType) -> bool:
    """Whether the type `new` holds every value of `old`, and Delta can change the metadata alone."""
    whole = _WHOLE.get(type(old))
    if isinstance(new, T.DecimalType):
        if isinstance(old, T.DecimalType):
            return new != old and new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale
        return whole is not None and new.precision - new.scale >= whole
    return whole is not None and _WHOLE.get(type(new), 0) > whole


def wider_types(old: StructType, new: Mapping[str, DataType]) -> dict[str, DataType] | None:
    """Return the columns of `new` that have a wider type than in `old`; None if another one has changed otherwise."""
    changed = {field.name: field.dataType for field in old if new.get(field.name, field.dataType) != field.dataType}
    are_wider = all(is_wider(new[name], kind) for name, kind in changed.items())
    return {name: new[name] for name in changed} if are_wider else None


def widen(table: LakeTable, types: Mapping[str, DataType], *, run_id: str) -> None:
    """Give columns wider types; without any, do nothing."""
    if not types:
        return
    writer = {} if table.property(WRITER) == SPARK_ONLY else {WRITER: SPARK}
    location = DeltaLog(table.spark, table.path).location
    with table.noting(run_id):
        table.have({TYPE_WIDENING: "true", **writer})
        for name, kind in types.items():
            table.spark.sql(f"ALTER TABLE delta.`{location}` ALTER COLUMN `{name}` TYPE {kind.simpleString()}")


def types_text(types: Mapping[str, DataType]) -> str:
    """Return columns with their types, such as `fee decimal(12,2), id bigint`."""
    return ", ".join(f"{name} {kind.simpleString()}" for name, kind in sorted(types.items()))
