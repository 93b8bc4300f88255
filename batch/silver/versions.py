"""Selects the newest version of a row: the one with the highest sequence, its position in the source's log.

Two versions with the same sequence are the same change, delivered twice. If they differ nevertheless, the hash of their
content decides, so that the result does not depend on the order of delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from batch.delta.table import CHANGE_FEED, STATISTICS

PROPERTIES: Final = {**CHANGE_FEED, STATISTICS: "_sequence"}
"""Properties of a Silver table and of its history. There are no statistics of keys: every file has keys of all ranges,
so they would exclude no file from a search."""

NEWER: Final = "s._sequence > t._sequence OR (s._sequence = t._sequence AND s._row_hash > t._row_hash)"
"""The condition that version `s` is newer than `t`, in SQL that both DataFusion (in delta-rs) and Spark accept."""


def newest(rows: DataFrame, key: Sequence[str]) -> DataFrame:
    """Return the newest version of each key."""
    order = Window.partitionBy(*key).orderBy(F.desc("_sequence"), F.desc("_row_hash"))
    return rows.withColumn("_rank", F.row_number().over(order)).where("_rank = 1").drop("_rank")
