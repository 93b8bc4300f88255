"""Lands a table by its feed."""

from __future__ import annotations

from collections.abc import Sequence

from batch.bronze.changes import land_changes
from batch.bronze.jdbc import land_jdbc
from batch.bronze.repair import land_rows_again
from batch.context import LayerResult, RunContext
from batch.retry import with_tries
from config.definition import Table

Key = tuple[str | None, ...]


def land(table: Table, context: RunContext) -> LayerResult:
    """Bring the Bronze table up to what its feed has; a run that was killed is continued, one too many does nothing.

    Raises:
        BatchError: the feed can't be read, or the table is filled from another one.
    """
    work = land_changes if table.feed == "changes" else land_jdbc
    return with_tries(lambda: work(table, context), layer="bronze", table=table.name)


def land_rows(table: Table, keys: Sequence[Key], context: RunContext) -> LayerResult:
    """Land the rows with these keys as the source has them now; those that it does not have are landed as deleted.

    Args:
        keys: the canonical texts of the key's values, in the order of `table.key`.

    Raises:
        BatchError: the source can't be read.
    """
    return with_tries(lambda: land_rows_again(table, keys, context), layer="bronze", table=table.name)
