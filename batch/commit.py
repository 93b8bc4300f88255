"""What a commit of a Delta table says of itself: our note, and how many rows it changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Written:
    """One commit and its rows, as Delta counted them."""

    version: int
    rows_in: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0

    @property
    def rows_written(self) -> int:
        """Rows that are other than before."""
        return self.rows_inserted + self.rows_updated + self.rows_deleted


def noted(info: Mapping[str, Any]) -> dict[str, Any]:
    """Our note in a commit; {} if it is of someone else."""
    try:
        note = json.loads(info.get("userMetadata") or "{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def counted(version: int, metrics: Mapping[str, Any]) -> Written:
    """What a commit did, from the figures that its writer left in it."""

    def count(name: str) -> int:
        return int(metrics.get(name, 0))

    if "numSourceRows" in metrics:  # a merge by Spark
        return Written(
            version=version,
            rows_in=count("numSourceRows"),
            rows_inserted=count("numTargetRowsInserted"),
            rows_updated=count("numTargetRowsUpdated"),
            rows_deleted=count("numTargetRowsDeleted"),
        )
    if "num_source_rows" in metrics:  # by delta-rs
        return Written(
            version=version,
            rows_in=count("num_source_rows"),
            rows_inserted=count("num_target_rows_inserted"),
            rows_updated=count("num_target_rows_updated"),
            rows_deleted=count("num_target_rows_deleted"),
        )
    rows = count("num_added_rows" if "num_added_rows" in metrics else "numOutputRows")
    return Written(version=version, rows_in=rows, rows_inserted=rows)
