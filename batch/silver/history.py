"""The history of a Silver table: every valid version of every row, including deletes, for the dimensions of Gold.

Each version is stored once, no matter when or how often it is delivered; key and sequence identify it. Periods of
validity are not stored here, because a late version changes them; Gold computes them for the affected keys.
"""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.table import anti_joined, since
from batch.context import LayerResult, RunContext
from batch.delta.rows import Rows
from batch.delta.table import LakeTable
from batch.silver.versions import PROPERTIES
from config.definition import Table


def history_table(table: Table, context: RunContext) -> LakeTable | None:
    """Return the history table of a source table, or None if its definition does not request a history."""
    name = table.history_name
    return None if name is None else context.table("silver", name)


def unchanged_history(table: Table, context: RunContext) -> tuple[LayerResult, ...]:
    """Return the result of a history to which nothing is added; an empty tuple if there is none."""
    history = history_table(table, context)
    if history is None or not history.exists():
        return ()
    result = LayerResult(
        layer="silver",
        table=str(table.history_name),
        version=history.version(),
        progress=history.progress(),
        is_unchanged=True,
    )
    return (result,)


def keep_versions(
    versions: DataFrame, table: Table, context: RunContext, progress: dict[str, Any], *, from_scratch: bool
) -> tuple[LayerResult, ...]:
    """Add row versions to the history of a table; return its result, or an empty tuple if the table has no history.

    The history is written before Silver. If a run is killed in between, the next run finds these versions in the
    history, does not add them again, and publishes the history's version.

    Args:
        versions: row versions with the columns of Silver.
        progress: the progress to commit with the versions.
        from_scratch: whether to replace the history; `versions` must then have all versions in Bronze.
    """
    history = history_table(table, context)
    if history is None:
        return ()
    identity = [*table.key, "_sequence", "_row_hash"]
    rows = versions.dropDuplicates(identity)
    history.progress()
    if from_scratch or not history.exists():
        written = history.replace(rows, run_id=context.run_id, progress=progress, properties=PROPERTIES)
    else:
        rows = Rows.of(rows).collect_if_small().frame
        lowest = rows.agg(F.min("_sequence")).first()
        assert lowest is not None
        # Of a long history, this reads only the files with sequences at or above the lowest new one.
        there = since(history, lowest[0], columns=identity)
        new = Rows.of(anti_joined(rows, there, identity)).collect_if_small()
        if new.is_empty():
            return unchanged_history(table, context)
        written = history.append(new, run_id=context.run_id, progress=progress)
    assert table.history_name is not None
    return (LayerResult.of(written, layer="silver", table=table.history_name, progress=progress),)
