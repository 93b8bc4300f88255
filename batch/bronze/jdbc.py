"""Fills Bronze tables from the feed `jdbc`, which reads the source database in time windows of a table's cursor.

The cursor is a column with the time of a row's last change. An anchor is a time before which every transaction has
committed (`batch.bronze.windows`).

1. Choose the window: from the last run's anchor minus an overlap up to this run's anchor, exclusive. The first window
   of a table has no lower bound, and neither does any window of a `--full` run. Every window includes the rows whose
   cursor is NULL or the zero date of MySQL (0000-00-00).
2. Read the rows of the window, and drop those whose newest version in Bronze has the same content, so that rows of the
   overlap are not stored twice.
3. Append the rows and the anchor, as the progress, in one commit: a run that is killed leaves either both or neither.

If the definition has a column that the last run did not read, the window has no lower bound either, so that old rows
get its values too. A table without a cursor is read completely and compared with the newest version of each key in
Bronze, which also finds deleted rows; a `--full` run without time bounds reads every table this way. `millrace lake
reconcile --repair` finds the changes that windows miss: rows written with an old time, changes that do not update the
cursor, and deletes.

Rows that are too large for Java are put into the quarantine (`batch.bronze.large_rows`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze import progress as bronze_progress
from batch.bronze.jdbc_rows import check_columns, check_key, matching_rows, read_source, rows_ahead
from batch.bronze.large_rows import BYTES, measured, put_aside, smaller, with_put_aside
from batch.bronze.sequence import jdbc_sequence
from batch.bronze.table import (
    JDBC,
    PARTITIONS,
    anti_joined,
    bronze_table,
    drift,
    in_files,
    is_of_other_feed,
    properties,
    stamped,
    table_error,
    unchanged,
)
from batch.bronze.windows import Window, has_time_cursor, parse_time, source_cursor, source_of, window
from batch.context import LayerResult, RunContext
from batch.delta import sizes
from batch.delta.commits import Written
from batch.delta.table import LakeTable
from batch.storage.canonical import time_text
from batch.storage.database import connected
from config.definition import Table
from config.engines import engine_of

log = logging.getLogger("batch.bronze")

FIRST_TIME: Final = "0001-01-01"
"""A cursor before this is no time: rows with the zero date are read by every window, like those with NULL."""

_NEWEST = "_there_version"
"""Name of a temporary column; a key may have any name that does not begin like this one."""


def land_jdbc(table: Table, context: RunContext) -> LayerResult:
    """Append the rows of the next cursor window that a Bronze table does not have yet.

    Raises:
        BatchError: the database login is missing, the source's columns differ from the definition, or its keys are not
            unique; nothing was written.
    """
    bronze = bronze_table(table, context)
    is_first = not bronze.exists() or is_of_other_feed(bronze, table)
    progress = bronze.progress()
    done = {} if is_first else progress
    new = [] if is_first else _new_columns(bronze, table, context, progress)
    span = window(table, bronze_progress.from_the_beginning(done) if new else done, context)
    settings, definition = source_of(table, context), context.definition
    with connected(settings, definition.database, definition.schema) as connection:
        others = check_columns(connection, table)
        landing = _JdbcLanding(
            bronze=bronze, table=table, context=context, span=span, is_first=is_first, new_columns=new
        )
        if is_first or landing.is_whole:
            check_key(connection, table)
        row_sizes = measured(connection, table, landing.condition(), context)
        ahead = 0 if not has_time_cursor(table) else rows_ahead(connection, table, span.anchor.now)
        expected = matching_rows(connection, table, landing.condition()) if is_first else 0
    drifted = drift(table, [*others], ())
    for text in drifted:
        log.warning("bronze/%s: %s", table.name, text)
    rows = read_source(context.spark, settings, definition, table, landing.condition(), sizes=row_sizes)
    held = span.anchor.note if has_time_cursor(table) else ""
    wider = f"read again for the columns {', '.join(new)}" if new else ""
    late = f"rows with a time in the future in {table.cursor}, not read before then: {ahead:,}" if ahead else ""
    result = landing.land(rows, done, expected)
    return replace(result, note="; ".join(filter(None, (wider, held, late, result.note))), drift=drifted)


def _new_columns(bronze: LakeTable, table: Table, context: RunContext, done: dict[str, Any]) -> list[str]:
    """Return the columns of the definition that the last run did not read; one of them may have been read before.

    Raises:
        BatchError: there are such columns, but this run is to read a part of the table only.
    """
    there = {name.lower() for name in bronze_progress.columns(done) or bronze.at().schema.names}
    new = [name for name in table.column_names if name.lower() not in there]
    if new and (context.since is not None or context.until is not None):
        text = f"the definition has got columns ({', '.join(new)}): run once without --since and --until to read them"
        raise table_error(table, text)
    return new


@dataclass(frozen=True, kw_only=True)
class _JdbcLanding:
    """Appends the rows of one table's window to Bronze.

    Attributes:
        is_first: whether Bronze has no rows from this feed yet.
        new_columns: names of columns that the last run did not read. Their values are compared besides the rows'
            hashes, which are made of values alone, and stay the same if a column gets another name.
    """

    bronze: LakeTable
    table: Table
    context: RunContext
    span: Window
    is_first: bool
    new_columns: Sequence[str]

    @property
    def is_whole(self) -> bool:
        """Whether the whole table is read, so that rows missing from the result are known to be deleted."""
        is_bounded = self.context.since is not None or self.context.until is not None
        return not has_time_cursor(self.table) or (self.context.full and not is_bounded)

    def condition(self) -> str:
        """Return the SQL condition that selects the rows to read from the source database."""
        if self.is_whole:
            return "TRUE"
        cursor = engine_of(self.context.definition).quoted(source_cursor(self.table))
        end = f"'{time_text(self.span.end)}'"
        if self.span.start is None:
            return f"{cursor} < {end} OR {cursor} IS NULL"
        never = f"{cursor} IS NULL OR {cursor} < '{FIRST_TIME}'"
        return f"({cursor} >= '{time_text(self.span.start)}' AND {cursor} < {end}) OR {never}"

    def land(self, rows: DataFrame, done: dict[str, Any], expected: int) -> LayerResult:
        """Commit those of the source's rows that Bronze lacks.

        Args:
            done: the progress before this run.
            expected: number of rows of a first read.
        """
        if self.is_first and BYTES not in rows.columns:
            return self._land_first(rows, done, expected)
        rows = rows.persist()  # read from the source only once, although used several times
        try:
            aside = put_aside(rows, self.table, self.context)
            result = self._land_first(rows, done, expected) if self.is_first else self._land_new(rows, done)
            return with_put_aside(result, aside, self.context)
        finally:
            rows.unpersist()

    def _land_first(self, rows: DataFrame, done: dict[str, Any], expected: int) -> LayerResult:
        progress = self._progress(done)
        new = self._stamped(smaller(rows, self.context), "r")
        written = self._write(self.bronze.replace, new, expected, progress)
        return self._result(written, written.rows_inserted, progress)

    def _land_new(self, rows: DataFrame, done: dict[str, Any]) -> LayerResult:
        progress = self._progress(done)
        found = rows.agg(F.count(F.lit(1)).alias("rows"), F.count_if(self._is_timeless).alias("timeless")).first()
        assert found is not None
        count = found["rows"]
        stamped_rows = self._stamped(smaller(rows, self.context), "r")
        if self.is_whole:
            new = self._changed(stamped_rows, rows)
        else:
            new = self._unknown(stamped_rows, has_timeless=found["timeless"] > 0)
        if new.isEmpty() and not self._moves(done, progress) and not self._has_other_columns(done):
            return unchanged(self.bronze, self.table, done, rows_in=count)
        return self._result(self._write(self.bronze.append, new, count, progress), count, progress)

    def _progress(self, done: dict[str, Any]) -> dict[str, Any]:
        return bronze_progress.with_columns(self.span.progress(done), self.table.column_names)

    def _has_other_columns(self, done: dict[str, Any]) -> bool:
        """Whether the last run read other columns; only a commit keeps the next one from reading the new ones again."""
        known = bronze_progress.columns(done)
        return known is not None and {*known} != {*self.table.column_names}

    def _write(self, write: Callable[..., Written], new: DataFrame, count: int, progress: dict[str, Any]) -> Written:
        return write(
            in_files(new, self.table, count * sizes.ROW_BYTES),
            run_id=self.context.run_id,
            progress=progress,
            partition_by=PARTITIONS,
            properties=properties(self.table),
        )

    def _result(self, written: Written, count: int, progress: dict[str, Any]) -> LayerResult:
        return LayerResult.of(written, layer="bronze", table=self.table.name, progress=progress, rows_in=count)

    def _moves(self, done: dict[str, Any], progress: dict[str, Any]) -> bool:
        """Whether to commit the anchor even without new rows, because the next window would otherwise get too long."""
        if not has_time_cursor(self.table):
            return False
        start = progress["start"]
        overlap_s = self.context.settings.window_overlap_s
        return start is not None and (self.span.end - parse_time(start)).total_seconds() > 10 * overlap_s + 3_600

    def _stamped(self, rows: DataFrame, op: str) -> DataFrame:
        committed_at = F.lit(self.span.end)
        marked = rows.withColumns(
            {
                "_op": F.lit(op),
                "_sequence": F.lit(jdbc_sequence(self.span.sequence)),
                "_committed_at": committed_at,
                "_origin": F.lit(JDBC),
            }
        )
        return stamped(marked, self.table, self.context)

    def _unknown(self, new: DataFrame, *, has_timeless: bool) -> DataFrame:
        """Return the rows that differ from their newest version in Bronze, also in the cursor.

        Of Bronze, this reads only what the window may have, except for rows without a time in their cursor: the newest
        version of these may have any time.
        """
        key, versions = self.table.key, self.bronze.read()
        there = versions
        if self.span.start is not None:
            there = versions.where((F.col(str(self.table.cursor)) >= time_text(self.span.start)) | self._is_timeless)
            if has_timeless:
                own = _without_null(new.where(self._is_timeless), key).select(*key).distinct()
                there = there.unionByName(versions.join(own, [*key], "left_semi"))
        return anti_joined(new, self._newest(there), self._identity)

    @property
    def _identity(self) -> list[str]:
        """The columns by which a row of the source is the same as a version in Bronze."""
        return list(dict.fromkeys([*self.table.key, "_row_hash", *self.new_columns]))

    @property
    def _is_timeless(self) -> Column:
        """Whether the cursor of a row has no time, so that every window has the row."""
        if self.table.cursor is None:
            return F.lit(False)
        return F.col(self.table.cursor).isNull() | (F.col(self.table.cursor) < FIRST_TIME)

    def _changed(self, new: DataFrame, there: DataFrame) -> DataFrame:
        """Return the rows that differ from the newest version in Bronze, and a delete for each key that is not `there`.

        Of the rows with NULL in their key, none is known to be deleted.

        Args:
            there: all rows of the source, also those that are too large to be among the `new` ones.
        """
        key = self.table.key
        known = self._newest(self.bronze.read())
        changed = anti_joined(new, known, self._identity)
        gone = anti_joined(_without_null(known, key), there, key).select(*key)
        others = {name: F.lit(None).cast("string") for name in self.table.column_names if name not in key}
        return changed.unionByName(self._stamped(gone.withColumns(others) if others else gone, "d"))

    def _newest(self, versions: DataFrame) -> DataFrame:
        """Return key and content of the newest version of each key, without deleted rows.

        Rows with NULL in their key have no newest version, because several may have the same key: all are returned.
        """
        key, there = self.table.key, versions.columns
        content = [F.col("_row_hash")]
        content += [
            (F.col(name) if name in there else F.lit(None).cast("string")).alias(name)
            for name in self.new_columns
            if name not in key
        ]
        versions = versions.select(*key, F.struct("_sequence", "_op", *content).alias(_NEWEST))
        newest = _without_null(versions, key).groupBy(*key).agg(F.max(_NEWEST).alias(_NEWEST))
        known = newest.where(f"{_NEWEST}._op <> 'd'").unionByName(_with_null(versions, key))
        return known.select(*key, f"{_NEWEST}.*").select(*self._identity)


def _without_null(rows: DataFrame, key: Sequence[str]) -> DataFrame:
    return rows.where(" AND ".join(f"`{name}` IS NOT NULL" for name in key))


def _with_null(rows: DataFrame, key: Sequence[str]) -> DataFrame:
    return rows.where(" OR ".join(f"`{name}` IS NULL" for name in key))
