"""Entry points of Bronze: bring a table up to date with its feed, or read chosen rows from the source again."""

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
    """Bring the Bronze table up to date with its feed; this continues a killed run, and repeating it changes nothing.

    Raises:
        BatchError: the feed can't be read, or the table was filled from another feed.
    """
    return land_changes(table, context) if table.feed == "changes" else land_jdbc(table, context)


def land_rows(table: Table, keys: Sequence[Key], context: RunContext, *, only_new: bool = False) -> LayerResult:
    """Land the current source rows of these keys; a key that the source lacks is landed as deleted.

    Args:
        keys: keys of the rows, each as the canonical texts of its values in the order of `table.key`.
        only_new: land only rows that differ from their newest version in Bronze, so that a repetition lands nothing;
            otherwise land all rows, to correct a Silver table that differs from Bronze.

    Raises:
        BatchError: the source can't be read.
    """
    work = functools.partial(land_rows_again, table, keys, context, only_new=only_new)
    return with_tries(work, layer="bronze", table=table.name)


def land_window(table: Table, since: datetime | None, until: datetime | None, context: RunContext) -> LayerResult:
    """Land the current source rows whose cursor is at `since` or later and before `until`, if they differ from Bronze.

    The table must have a time cursor (`batch.bronze.windows.has_time_cursor`). A row that is missing in the window
    stays unchanged: the source may have deleted it, or its cursor may have moved out of the window.

    Args:
        since, until: bounds of the window; None: no bound.

    Raises:
        BatchError: the source can't be read.
    """
    work = functools.partial(land_window_again, table, since, until, context)
    return with_tries(work, layer="bronze", table=table.name)
