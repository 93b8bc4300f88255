"""Which version of a row is the newest: the one with the highest sequence.

Two versions with the same sequence are the same change, delivered twice. Should they differ all the same, the hash of
their content decides, so that the answer does not depend on which comes first or in which run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from batch.delta.table import CHANGE_FEED, STATISTICS

PROPERTIES: Final = {**CHANGE_FEED, STATISTICS: "_sequence"}
"""Of a table of Silver, and of its history. Keys are all over the files: statistics of them would find nothing."""

NEWER: Final = "s._sequence > t._sequence OR (s._sequence = t._sequence AND s._row_hash > t._row_hash)"
"""Whether the version `s` is newer than `t`, in SQL that DataFusion and Spark both know."""


def newest(rows: DataFrame, key: Sequence[str]) -> DataFrame:
    """Of each key the newest version."""
    order = Window.partitionBy(*key).orderBy(F.desc("_sequence"), F.desc("_row_hash"))
    return rows.withColumn("_rank", F.row_number().over(order)).where("_rank = 1").drop("_rank")
