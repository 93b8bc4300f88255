"""The quarantine: rows of all tables that a rule keeps out of Silver, each once, with all that a replay needs."""

from __future__ import annotations

import threading
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.context import RunContext
from batch.delta.table import LakeTable

COLUMNS: Final = ("table", "key", "rule", "action", "row", "_sequence", "_origin")
"""`key` and `row` are JSON: of the row all columns as Bronze has them."""

_IDENTITY: Final = ("table", "key", "rule", "_sequence", "_origin")

_ONE_AT_A_TIME: Final = threading.Lock()
"""The tables of a run share the quarantine, and of two writes that follow the same version one fails."""


def quarantine_table(context: RunContext) -> LakeTable:
    """The quarantine of the run's dataset."""
    return LakeTable(context.spark, context.lake.quarantine(), "silver/quarantine")


def quarantine(rows: DataFrame, context: RunContext) -> None:
    """Put rows (with `COLUMNS`) aside. A row that is there already is left out, so that a run may be repeated."""
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
