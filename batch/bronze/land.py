"""Entry points of Bronze: bring a table up to date with its feed, or read selected rows from the source again."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime

from batch.bronze.changes import land_changes
from batch.bronze.jdbc import land_jdbc
from batch.bronze.reread import land_rows_again, land_window_again
from batch.context import LayerResult, RunContext
from batch.storage.retry import with_tries
from config.definition import Table

Key = tuple[str | None, ...]


def land(table: Table, context: RunContext) -> LayerResult:
    """Bring a Bronze table up to date with its feed, continuing from the progress stored in the table.

    Raises:
        BatchError: the feed cannot be read, or the table was filled from another feed.
    """
    return land_changes(table, context) if table.feed == "changes" else land_jdbc(table, context)


def land_rows(table: Table, keys: Sequence[Key], context: RunContext, *, only_new: bool = False) -> LayerResult:
    """Append the source's current rows with these keys to Bronze; a key that the source lacks becomes a delete.

    Args:
        keys: keys of the rows, each as the canonical texts of its values in the order of `table.key`.
        only_new: append only rows that differ from their newest version in Bronze, so that a repeated call appends
            nothing; otherwise append all rows, to correct a Silver table that differs from Bronze.

    Raises:
        BatchError: the source cannot be read.
    """
    work = functools.partial(land_rows_again, table, keys, context, only_new=only_new)
    return with_tries(work, layer="bronze", table=table.name)


def land_window(table: Table, since: datetime | None, until: datetime | None, context: RunContext) -> LayerResult:
    """Append the source rows with a cursor from `since` up to, but excluding, `until` that differ from Bronze.

    The table must have a time cursor (`batch.bronze.windows.has_time_cursor`). Rows that only Bronze has in the window
    are left unchanged, because the source may have deleted them or moved their cursor out of the window.

    Args:
        since, until: bounds of the window; None means no bound.

    Raises:
        BatchError: the source cannot be read.
    """
    work = functools.partial(land_window_again, table, since, until, context)
    return with_tries(work, layer="bronze", table=table.name)
