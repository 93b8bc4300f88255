"""Goal: a type is called wider only if it holds every value of the other, and Delta changes the metadata alone.

Method: pairs of types; no Spark.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import types as T  # noqa: N812

from batch.delta.widening import is_wider, types_text, wider_types
from batch.gold.header import parsed
from batch.gold.refresh import _fits
from config.dataset import load_definition

INT, BIGINT, TEXT, DOUBLE = T.IntegerType(), T.LongType(), T.StringType(), T.DoubleType()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (T.ShortType(), INT),
        (INT, BIGINT),
        (INT, T.DecimalType(10, 0)),
        (INT, T.DecimalType(12, 2)),
        (BIGINT, T.DecimalType(20, 0)),
        (T.DecimalType(10, 2), T.DecimalType(12, 2)),
        (T.DecimalType(10, 2), T.DecimalType(12, 4)),
        (T.DecimalType(10, 2), T.DecimalType(38, 2)),
    ],
)
def test_a_type_that_holds_all_values_of_another_is_wider_and_not_the_other_way(
    old: T.DataType, new: T.DataType
) -> None:
    assert is_wider(new, old)
    assert not is_wider(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (INT, INT),
        (INT, DOUBLE),
        (INT, TEXT),
        (TEXT, INT),
        (BIGINT, T.DecimalType(19, 0)),
        (INT, T.DecimalType(10, 2)),
        (T.DecimalType(10, 2), T.DecimalType(10, 2)),
        (T.DecimalType(10, 2), T.DecimalType(12, 5)),
        (T.DecimalType(10, 2), T.DecimalType(12, 1)),
        (T.DateType(), T.TimestampType()),
    ],
)
def test_all_other_types_are_not(old: T.DataType, new: T.DataType) -> None:
    assert not is_wider(new, old)


def test_columns_are_made_wider_only_if_no_other_column_changes_otherwise() -> None:
    old = T.StructType([T.StructField("id", INT), T.StructField("t", TEXT), T.StructField("_run_id", TEXT)])
    assert wider_types(old, {"id": INT, "t": TEXT}) == {}
    assert wider_types(old, {"id": BIGINT, "t": TEXT}) == {"id": BIGINT}
    assert wider_types(old, {"id": BIGINT, "t": DOUBLE}) is None
    assert types_text({"t": T.DecimalType(12, 2), "id": BIGINT}) == "id bigint, t decimal(12,2)"


@pytest.mark.parametrize("header", ["-- export: klienci-by-country", "-- redis: rows"])
def test_a_fact_that_is_published_is_rebuilt_instead_of_made_wider(header: str) -> None:
    firma = load_definition("firma")
    sql = Path(firma.folder, "gold", "klienci_by_country.sql").read_text("utf-8")
    plan = parsed(sql.replace("-- export: klienci-by-country", header), "klienci_by_country", firma)
    refresh: Any = SimpleNamespace(plan=plan, target=None)
    old, new = (T.StructType([T.StructField("id", kind)]) for kind in (INT, BIGINT))
    assert _fits(refresh, old, old)
    assert not _fits(refresh, new, old), "its readers do not know Delta's feature of wider types"
