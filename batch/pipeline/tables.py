"""Opens tables of the lake by layer and name."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from batch import gold
from batch.delta.table import LakeTable
from batch.storage.paths import Lake
from config.definition import Definition


def lake_table(spark: SparkSession, lake: Lake, definition: Definition, layer: str, name: str) -> LakeTable:
    """Return the table with this layer and name, even if it does not exist yet."""
    return LakeTable(spark, lake_uri(lake, definition, layer, name), f"{layer}/{name}")


def lake_uri(lake: Lake, definition: Definition, layer: str, name: str) -> str:
    """Return the path of the table with this layer and name."""
    if layer != "gold":
        return lake.table(layer, name)
    [plan] = [plan for plan in gold.plans(definition) if plan.name == name]
    return lake.dimension(name) if plan.kind == "dimension" else lake.fact(name)


def live_rows(silver: DataFrame) -> DataFrame:
    """Return the rows of a Silver table without tombstones (rows that the source has deleted)."""
    return silver.where("not _deleted")
