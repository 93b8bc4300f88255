"""The history of a table of Silver: every good version of every row, deletes too, for the dimensions of Gold.

A version is there once, by key and sequence, whenever and however often it is delivered. Periods of validity are not
stored here: they change with every version that comes late, and Gold works it out for the keys concerned.
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
    """The table's history; None if none is kept."""
    name = table.history_name
    return None if name is None else context.table("silver", name)


def keep_versions(
    versions: DataFrame, table: Table, context: RunContext, progress: dict[str, Any], *, from_scratch: bool
) -> tuple[LayerResult, ...]:
    """Add versions (rows of Silver) to the table's history; one result, none for a table without a history.

    It is written before Silver is: a run that is killed in between finds these versions there and adds none twice.

    Args:
        from_scratch: they are all versions of Bronze, and replace the history.
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
        # Of a long history only the files that hold sequences as high as the new ones are read.
        there = since(history, lowest[0], columns=identity)
        new = Rows.of(anti_joined(rows, there, identity)).collect_if_small()
        if new.is_empty():
            return ()
        written = history.append(new, run_id=context.run_id, progress=progress)
    assert table.history_name is not None
    return (LayerResult.of(written, layer="silver", table=table.history_name, progress=progress),)
