"""Chooses the cursor windows of tables read over JDBC, so that no row is missed.

The cursor is a column with the time of a row's last change. A transaction sets this time before it commits, so a read
in between misses the row, although it may find other rows with later times. Therefore, every window ends at an anchor:
a time some seconds before the start of the oldest transaction that was open when the run began. All tables of a run
share the same anchor.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from batch.bronze import progress as bronze_progress
from batch.bronze.table import table_error
from batch.context import RunContext
from batch.storage.canonical import time_text
from batch.storage.database import connected
from config.definition import LogicalType, Table
from config.engines import engine_of
from config.engines.base import Connection, SourceSettings

_MICROSECOND: Final = timedelta(microseconds=1)

HELD_S_MIN: Final = 60.0
"""Least age of an open transaction, in seconds, at which a run reports that it holds the anchor back."""


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A time before which every transaction has committed, from the database's clock.

    Attributes:
        now: the database's time when the anchor was determined.
        open_s: age of the oldest open transaction at that time, in seconds; 0 if none was open.
    """

    at: datetime
    now: datetime
    open_s: float

    @property
    def note(self) -> str:
        """A remark on a transaction that holds the anchor back; empty if there is none."""
        if self.open_s < HELD_S_MIN:
            return ""
        return (
            f"read up to {self.at:%Y-%m-%d %H:%M:%S}Z, held back by a transaction that is open for {self.open_s:,.0f} s"
        )


@dataclass(frozen=True, kw_only=True)
class Window:
    """A cursor window: the rows whose cursor is NULL or a zero date, or at or after `start` and before `end`.

    Attributes:
        start: lower bound; None if the window has none.
        end: upper bound, exclusive.
        sequence: sequence of the window's row versions, in microseconds since 1970; higher than in any earlier window.
        anchor: the run's anchor.
    """

    start: datetime | None
    end: datetime
    sequence: int
    anchor: Anchor

    def progress(self, done: dict[str, Any]) -> dict[str, Any]:
        """Return the progress to commit with the window's rows; `done` is the progress before this run.

        The anchor of a window that starts behind the former one (`--since`) stays where it was, so that the next window
        has the rows in between.
        """
        start = None if self.start is None else time_text(self.start)
        anchor = bronze_progress.anchor(done)
        if start is None or start <= anchor:
            anchor = max(anchor, time_text(self.end))
        return {"anchor": anchor, "start": start, "sequence": self.sequence}


def window(table: Table, done: dict[str, Any], context: RunContext) -> Window:
    """Return the window that follows the progress `done`; the run's `since` and `until` override its bounds.

    Raises:
        BatchError: the login for the database is missing, or the database rejects a query.
    """
    database = source_of(table, context)
    anchor = run_anchor(context, database)
    last = bronze_progress.anchor(done)
    end = max(anchor.at, parse_time(last)) if last else anchor.at
    start = parse_time(last) - timedelta(seconds=context.settings.window_overlap_s) if last else None
    if context.since is not None:
        start = context.since
    if context.until is not None:
        end = min(end, context.until)
    if context.full:
        start = None
    return Window(start=start, end=end, sequence=next_sequence(anchor.at, done), anchor=anchor)


def next_sequence(anchor: datetime, done: dict[str, Any]) -> int:
    """Return the anchor in microseconds since 1970, or the last sequence plus one if that is higher.

    A transaction that stays open across runs keeps the anchor at the same time, but sequences must increase.
    """
    micros = (anchor - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND
    return max(micros, int(done.get("sequence", -1)) + 1)


def run_anchor(context: RunContext, database: SourceSettings) -> Anchor:
    """Return the anchor of a run; the first call determines it, before the run reads any table."""

    def find() -> Anchor:
        with connected(database, context.definition.database, context.definition.schema) as connection:
            return find_anchor(connection, safety_s=context.settings.window_safety_s)

    return context.once_for_all("anchor", find)


def find_anchor(connection: Connection, *, safety_s: float) -> Anchor:
    """Determine the anchor: the start of the oldest open transaction (or now, if none is open) minus `safety_s`.

    All times are from the database's clock.
    """
    clock = connection.engine.clock(connection)
    at = clock.now - timedelta(seconds=clock.open_s + safety_s)
    return Anchor(at=at, now=clock.now, open_s=clock.open_s)


def has_time_cursor(table: Table) -> bool:
    """Whether the table's cursor is a timestamp column, so that windows can select rows by time."""
    return any(column.name == table.cursor and column.type is LogicalType.TIMESTAMP for column in table.columns)


def source_cursor(table: Table) -> str:
    """Return the name that the table's cursor has in the source; the table has one."""
    return table.column(str(table.cursor)).source_name


def source_of(table: Table, context: RunContext) -> SourceSettings:
    """Return the connection settings of the source database.

    Raises:
        BatchError: the run has no login for the source database.
    """
    if context.database is None:
        words = engine_of(context.definition).words
        raise table_error(table, f"no login for the source database: set {words.address}, {words.login}")
    return context.database


def parse_time(text: str) -> datetime:
    """Parse the canonical text of a time."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
