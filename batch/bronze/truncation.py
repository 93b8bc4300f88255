"""Truncations: a change `t` deletes every row of its table that is older than its position.

The deletes are appended to Bronze like any others: one for each key, at the first truncation that follows one of its
versions. Which deletes there are thus depends on the changes alone, not on the runs that read them. A change that is
older than a truncation may arrive later, from another partition of the topic, so the newest truncations are kept in the
progress, and later runs delete the keys of such changes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.progress import TRUNCATED
from batch.bronze.rest import REST
from batch.delta.table import LakeTable
from batch.storage.canonical import time_text
from config.definition import Table

IS_TRUNCATION: Final = "_problem IS NULL AND NOT _is_tombstone AND _op = 't'"
"""The Spark SQL condition for decoded records that are truncations."""

TRUNCATIONS_MAX: Final = 50
"""Maximum number of truncations that a table keeps. Changes older than all of them are deleted by the oldest."""

_BY: Final = "_there_truncation"
"""Name of a temporary column, the truncation that deletes a version; no key may begin like this."""


class Truncation(NamedTuple):
    """A truncation of a table: its position, time and origin."""

    sequence: str
    committed_at: str
    origin: str

    @classmethod
    def of(cls, found: Row) -> Truncation:
        """Return the truncation that was found in a row with `_sequence`, `_committed_at` and `_origin`."""
        time = found["_committed_at"] or datetime(1970, 1, 1, tzinfo=UTC)
        return cls(found["_sequence"], time_text(time.astimezone(UTC)), found["_origin"])


def found_truncations() -> Column:
    """Return the aggregate for the newest truncations of decoded records, newest first, as structs."""
    found = F.expr(f"collect_set(struct(_sequence, _committed_at, _origin)) FILTER (WHERE {IS_TRUNCATION})")
    return F.slice(F.sort_array(found, asc=False), 1, TRUNCATIONS_MAX)


def kept_truncations(progress: dict[str, Any]) -> tuple[Truncation, ...]:
    """Return the truncations that a progress has, in their order."""
    found = progress.get(TRUNCATED, [])
    if found and isinstance(found[0], str):
        found = [found]  # an earlier form: the newest one alone
    return tuple(Truncation(*each) for each in found)


def with_seen(progress: dict[str, Any], seen: Sequence[Truncation]) -> dict[str, Any]:
    """Return what to add to a progress for the truncations that a run has `seen`."""
    kept = sorted({*kept_truncations(progress), *seen})[-TRUNCATIONS_MAX:]
    return {TRUNCATED: [list(each) for each in kept]} if kept else {}


def with_deletes(
    rows: DataFrame,
    table: Table,
    truncations: Sequence[Truncation],
    *,
    bronze: LakeTable | None,
    done: Sequence[Truncation],
) -> DataFrame:
    """Add the deletes of truncations: for each key, one at the first truncation after each of its versions.

    Args:
        rows: the versions to append, without the columns that `batch.bronze.table.stamped` adds.
        truncations: at least one, in their order.
        bronze: the table whose rows are deleted too; None if it has no older ones.
        done: the truncations that have deleted the rows of `bronze` before.
    """
    deleted = _deleted(rows, table, truncations)
    new = [each.sequence for each in truncations if each not in done]
    if new and bronze is not None and bronze.exists():
        there = _deleted(bronze.read(), table, truncations)
        deleted = deleted.unionByName(there.where(F.col(f"{_BY}._sequence").isin(new)))
    others = {name: F.lit(None).cast("string") for name in (*table.column_names, REST) if name not in table.key}
    deletes = deleted.distinct().select(*table.key, f"{_BY}.*").withColumns({"_op": F.lit("d"), **others})
    return rows.unionByName(deletes)


def _deleted(rows: DataFrame, table: Table, truncations: Sequence[Truncation]) -> DataFrame:
    """Return the keys of the rows that are no deletes, each with the first truncation that follows it."""
    following = F.filter(_literal(truncations), lambda each: each["_sequence"] > F.col("_sequence"))
    rows = rows.where((F.col("_sequence") < truncations[-1].sequence) & (F.col("_op") != "d"))
    return rows.select(*table.key, F.get(following, F.lit(0)).alias(_BY))


def _literal(truncations: Sequence[Truncation]) -> Column:
    return F.array(
        *(
            F.struct(
                F.lit(each.sequence).alias("_sequence"),
                F.lit(each.committed_at).cast("timestamp").alias("_committed_at"),
                F.lit(each.origin).alias("_origin"),
            )
            for each in truncations
        )
    )
