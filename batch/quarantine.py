"""The quarantine: rows of all tables that quality rules keep out of Silver.

A row is stored once for each rule that it breaks, with everything that a replay needs.
"""

from __future__ import annotations

import threading
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.context import RunContext
from batch.delta.table import LakeTable

COLUMNS: Final = ("table", "key", "rule", "action", "row", "_sequence", "_origin")
"""`key` and `row` are JSON; `row` has all columns of the row as Bronze stores them."""

_IDENTITY: Final = ("table", "key", "rule", "_sequence", "_origin")

_ONE_AT_A_TIME: Final = threading.Lock()
"""All tables of a run share the quarantine. If two writes start from the same version of it, one of them fails."""


def quarantine_table(context: RunContext) -> LakeTable:
    """Return the quarantine of the run's dataset."""
    return LakeTable(context.spark, context.lake.quarantine(), "silver/quarantine")


def quarantine(rows: DataFrame, context: RunContext) -> None:
    """Add rows (with `COLUMNS`) to the quarantine, without those that it has already, so that a run can be repeated."""
    table = quarantine_table(context)
    rows = rows.select(*COLUMNS).distinct()
    with _ONE_AT_A_TIME:
        if table.exists():
            there = table.read().select(*(F.col(name).alias(f"_there_{name}") for name in _IDENTITY))
            same = [F.col(name).eqNullSafe(F.col(f"_there_{name}")) for name in _IDENTITY]
            rows = rows.join(there, same, "left_anti")
        stamped = rows.withColumn("_run_id", F.lit(context.run_id))
        stamped = stamped.withColumn("quarantined_at", F.lit(context.started_at))
        table.append(stamped, run_id=context.run_id, progress={})
