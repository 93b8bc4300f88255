"""Truncations: a change `t` deletes every row of its table that is older than its position.

The deletes are appended to Bronze like any others, one for each key. A change that is older than the truncation may
arrive later, from another partition of the topic, so the newest truncation is kept in the progress, and later runs
delete the keys of such changes too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.rest import REST
from batch.delta.table import LakeTable
from batch.storage.canonical import time_text
from config.definition import Table

IS_TRUNCATION: Final = "_problem IS NULL AND NOT _is_tombstone AND _op = 't'"
"""The Spark SQL condition for decoded records that are truncations."""


class Truncation(NamedTuple):
    """A truncation of a table: its position, time and origin."""

    sequence: str
    committed_at: str
    origin: str

    @classmethod
    def of(cls, found: Row | None) -> Truncation | None:
        """Return the truncation that was found in a row with `_sequence`, `_committed_at` and `_origin`."""
        if found is None:
            return None
        time = found["_committed_at"] or datetime(1970, 1, 1, tzinfo=UTC)
        return cls(found["_sequence"], time_text(time.astimezone(UTC)), found["_origin"])


def newest(seen: Truncation | None, progress: dict[str, Any], name: str) -> Truncation | None:
    """Return the newest truncation of those that a run has seen and that the progress has under `name`."""
    known = Truncation(*progress[name]) if name in progress else None
    return max(filter(None, (seen, known)), default=None)


def with_deletes(rows: DataFrame, table: Table, truncation: Truncation, bronze: LakeTable | None) -> DataFrame:
    """Add a delete for each key that has an older version than the truncation.

    Args:
        rows: the versions to append, without the columns that `batch.bronze.table.stamped` adds.
        bronze: the table whose keys are deleted too; None if this truncation has deleted them before.
    """
    is_older = F.col("_sequence") < truncation.sequence
    keys = rows.where(is_older).select(*table.key)
    if bronze is not None and bronze.exists():
        keys = keys.unionByName(bronze.read().where(is_older).select(*table.key))
    others = {name: F.lit(None).cast("string") for name in (*table.column_names, REST) if name not in table.key}
    added = {
        "_op": F.lit("d"),
        "_sequence": F.lit(truncation.sequence),
        "_committed_at": F.lit(truncation.committed_at).cast("timestamp"),
        "_origin": F.lit(truncation.origin),
    }
    return rows.unionByName(keys.distinct().withColumns(others | added))
