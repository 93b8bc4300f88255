"""How fresh the lake's tables are: when the last run began that left a table up to date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from batch.pipeline.manifest import TableRun


def fresh_after(former: Mapping[str, float], began_at: float, tables: Iterable[TableRun]) -> dict[str, float]:
    """Return the Unix time as of which each table is up to date after a run, keyed by layer and table.

    A table is as fresh as the last run in which neither it nor a table that it is made of failed; one that was never
    up to date counts from its first run.

    Args:
        former: the times before the run.
        began_at: the Unix time at which the run began.
    """
    found = dict(former)
    for table in tables:
        if table.name not in found or (table.is_published and not table.behind):
            found[table.name] = began_at
    return found
