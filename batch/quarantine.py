"""The quarantine: one table for all rows that a quality rule keeps out of Silver.

A row is stored once per rule that it violates, with everything that is needed to check and process it again.
"""

from __future__ import annotations

import threading
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.context import RunContext
from batch.delta.delta_rs import NEVER
from batch.delta.rows import Rows
from batch.delta.table import LakeTable

COLUMNS: Final = ("table", "key", "rule", "action", "row", "_sequence", "_origin")
"""Columns of the rows to quarantine. `key` and `row` are JSON; `row` has all columns as stored in Bronze."""

_IDENTITY: Final = ("table", "key", "rule", "_sequence", "_origin")

_ONE_AT_A_TIME: Final = threading.Lock()
"""Serialises writes to the quarantine, which all tables share: of two concurrent Delta commits, one would fail."""


def quarantine_table(context: RunContext) -> LakeTable:
    """Return the quarantine table of the dataset that the run processes."""
    return LakeTable(context.spark, context.lake.quarantine(), "silver/quarantine")


def quarantine(rows: DataFrame, context: RunContext) -> None:
    """Append rows to the quarantine, skipping those already stored there, so that a run can be repeated safely."""
    table = quarantine_table(context)
    rows = rows.select(*COLUMNS).distinct()
    with _ONE_AT_A_TIME:
        if table.exists():
            there = table.read().select(*(F.col(name).alias(f"_there_{name}") for name in _IDENTITY))
            same = [F.col(name).eqNullSafe(F.col(f"_there_{name}")) for name in _IDENTITY]
            rows = rows.join(there, same, "left_anti")
            if rows.isEmpty():
                return
        stamped = rows.withColumn("_run_id", F.lit(context.run_id))
        stamped = stamped.withColumn("quarantined_at", F.lit(context.started_at))
        table.append(stamped, run_id=context.run_id, progress={})


def release(entries: Rows, context: RunContext, *, on: str) -> int:
    """Remove the entries `t` that match one of the given ones, `s`, and return their number; `on` is SQL."""
    with _ONE_AT_A_TIME:
        written = quarantine_table(context).merge(
            entries,
            on=on,
            set_when=None,
            insert_when=NEVER,
            delete_when="true",
            evolve=False,
            run_id=context.run_id,
            progress={},
        )
    return written.rows_deleted
