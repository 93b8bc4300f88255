"""Lands a table by its feed."""

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
    """Bring the Bronze table up to date with its feed; a killed run is continued, a repeated one does nothing.

    Raises:
        BatchError: the feed can't be read, or the table is filled from another one.
    """
    return land_changes(table, context) if table.feed == "changes" else land_jdbc(table, context)


def land_rows(table: Table, keys: Sequence[Key], context: RunContext, *, only_new: bool = False) -> LayerResult:
    """Land the rows with these keys as the source has them now; those that it does not have are landed as deleted.

    Args:
        keys: the canonical texts of the key's values, in the order of `table.key`.
        only_new: rows that the newest version in Bronze says already are left out, so that a repetition lands nothing;
            else the rows are landed in any case, for a Silver that differs from Bronze.

    Raises:
        BatchError: the source can't be read.
    """
    work = functools.partial(land_rows_again, table, keys, context, only_new=only_new)
    return with_tries(work, layer="bronze", table=table.name)


def land_window(table: Table, since: datetime | None, until: datetime | None, context: RunContext) -> LayerResult:
    """Land the rows whose cursor is from `since` to before `until`, as the source has them now; only what is new.

    The table needs a cursor (`batch.bronze.windows.has_time_cursor`). A row that was deleted in the source
    looks like one whose cursor has moved: it stays as it is.

    Raises:
        BatchError: the source can't be read.
    """
    work = functools.partial(land_window_again, table, since, until, context)
    return with_tries(work, layer="bronze", table=table.name)
