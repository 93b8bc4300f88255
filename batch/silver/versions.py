"""Selects the newest version of each row: the version with the highest sequence (see `batch.bronze.sequence`).

Two versions with the same sequence are the same change, delivered twice. If their content differs nevertheless, the
version with the higher content hash is selected, so that the result does not depend on the order of delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from batch.delta.table import CHANGE_FEED, STATISTICS

META: Final = ("_sequence", "_committed_at", "_row_hash", "_deleted", "_run_id")
"""Columns that Silver tables have in addition to the columns of their source tables."""

PROPERTIES: Final = {**CHANGE_FEED, STATISTICS: "_sequence"}
"""Delta properties of a Silver table and of its history.

Files have statistics for the sequence, but not for keys: every file has keys from the whole range, so key statistics
would not exclude any file from a search."""

NEWER: Final = "s._sequence > t._sequence OR (s._sequence = t._sequence AND s._row_hash > t._row_hash)"
"""SQL condition that version `s` is newer than version `t`; both Spark and DataFusion (in delta-rs) accept it."""


def newest(rows: DataFrame, key: Sequence[str]) -> DataFrame:
    """Return only the newest version of each key from rows that may have several versions per key."""
    order = Window.partitionBy(*key).orderBy(F.desc("_sequence"), F.desc("_row_hash"))
    return rows.withColumn("_rank", F.row_number().over(order)).where("_rank = 1").drop("_rank")
