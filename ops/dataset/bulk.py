"""Write many rows into one table with multi-row statements, and find the rows that the database rejects.

`LOAD DATA LOCAL` would be a third faster, but it turns errors into warnings without line numbers, and MySQL 8 servers
reject it unless configured to accept it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self

from config.definition import Table
from config.engines.base import Connection
from config.engines.faults import Fault

ROWS_PER_STATEMENT = 5_000
BYTES_PER_STATEMENT = 1_000_000
ROWS_PER_TRANSACTION = 50_000
_NOT_OF_A_ROW = (Fault.AWAY, Fault.LOCKED, Fault.STATEMENT, Fault.NO_TABLE)
"""Faults that are not the fault of a row's values."""


class OnDuplicate(StrEnum):
    """Treatment of a row whose key already exists: reject it, skip it, or replace the existing row."""

    FAIL = "fail"
    SKIP = "skip"
    REPLACE = "replace"


class Row(NamedTuple):
    """A row to write: its line and fields in the source file, and its values as comma-separated SQL literals."""

    line: int
    fields: Sequence[str]
    literals: str


class RejectedRow(NamedTuple):
    """A row that was not written: its line and fields in the source file, and the reason."""

    line: int
    fields: Sequence[str]
    reason: str
    duplicate: bool = False


@dataclass(kw_only=True)
class BulkWriter:
    """A writer that collects rows and writes them to one table in multi-row statements.

    Statements run one at a time on a separate thread, so that the caller can read the next rows while the server works.

    Attributes:
        written: number of committed rows.
        skipped: number of rows not written because their key exists and `on_duplicate` is `skip`.
        rejected: rows that the database has rejected so far; the caller may remove them from the list.
    """

    connection: Connection
    table: Table
    columns: Sequence[str]
    on_duplicate: OnDuplicate = OnDuplicate.FAIL
    written: int = 0
    skipped: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)
    _waiting: list[Row] = field(default_factory=list)
    _waiting_bytes: int = 0
    _uncommitted: int = 0
    _in_flight: Future[list[RejectedRow]] | None = None
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "bulk-writer"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write and commit all added rows, unless an error ends the block; rows committed before the error remain."""
        try:
            if kind is None:
                self._submit()
                self._settle()
                self._commit()
        finally:
            self._thread.shutdown()

    def add(self, row: Row) -> None:
        """Add a row, which is written by the end of the `with` block at the latest."""
        self._waiting.append(row)
        self._waiting_bytes += len(row.literals)
        if len(self._waiting) >= ROWS_PER_STATEMENT or self._waiting_bytes >= BYTES_PER_STATEMENT:
            self._submit()

    def _submit(self) -> None:
        self._settle()
        rows, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if rows:
            self._in_flight = self._thread.submit(self._write, rows)

    def _settle(self) -> None:
        if self._in_flight is not None:
            self.rejected += self._in_flight.result()
            self._in_flight = None

    def _write(self, rows: list[Row]) -> list[RejectedRow]:
        rejected: list[RejectedRow] = []
        if self._rejection(rows) is not None:
            rejected += self._set_aside_duplicates(rows)
            rejected += self._write_piecewise(rows)
        if self._uncommitted >= ROWS_PER_TRANSACTION:
            self._commit()
        if self.on_duplicate is OnDuplicate.SKIP:
            kept = [row for row in rejected if not row.duplicate]
            self.skipped += len(rejected) - len(kept)
            return kept
        return rejected

    def _commit(self) -> None:
        self.connection.commit()
        self.written += self._uncommitted
        self._uncommitted = 0

    def _write_piecewise(self, rows: list[Row]) -> list[RejectedRow]:
        """Split rejected statements in half repeatedly, until each faulty row is isolated in its own statement."""
        rejected = []
        pieces = [rows] if rows else []
        while pieces:
            piece = pieces.pop()
            error = self._rejection(piece)
            if error is not None and len(piece) > 1:
                middle = len(piece) // 2
                pieces += [piece[middle:], piece[:middle]]
            elif error is not None:
                row, duplicate = piece[0], self.connection.engine.fault(error) is Fault.DUPLICATE
                rejected.append(RejectedRow(row.line, row.fields, self.connection.engine.reason(error), duplicate))
        return rejected

    def _rejection(self, rows: Sequence[Row]) -> Exception | None:
        """Write rows in one statement; return the error if the database rejects them; the transaction stays open."""
        engine = self.connection.engine
        text = "),(".join([row.literals for row in rows])
        columns = ",".join(map(engine.quoted, self.columns))
        statement = f"INSERT INTO {engine.quoted(self.table.name)} ({columns}) VALUES ({text})"  # noqa: S608
        if self.on_duplicate is OnDuplicate.REPLACE:
            statement += engine.replacing(self.columns, self.table.key)
        try:
            with engine.savepoint(self.connection), self.connection.cursor() as cursor:
                cursor.execute(statement)
        except engine.errors as error:
            if engine.fault(error) in _NOT_OF_A_ROW:
                raise
            return error
        self._uncommitted += len(rows)
        return None

    def _set_aside_duplicates(self, rows: list[Row]) -> list[RejectedRow]:
        """Remove the rows with an existing key from `rows`, and return the removed rows.

        One query finds all of them, while splitting would take two statements per row.
        """
        if self.on_duplicate is OnDuplicate.REPLACE:
            return []
        places = [self.columns.index(name) for name in self.table.key]
        keys = [tuple(row.fields[place] for place in places) for row in rows]
        taken = self._existing_keys(set(keys))
        rejected, fresh = [], []
        for row, key in zip(rows, keys, strict=True):
            if key in taken:
                rejected.append(RejectedRow(row.line, row.fields, f"duplicate key {', '.join(key)}", duplicate=True))
            else:
                taken.add(key)
                fresh.append(row)
        rows[:] = fresh
        return rejected

    def _existing_keys(self, keys: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
        engine = self.connection.engine
        columns = ",".join(map(engine.quoted, self.table.key))
        wanted = ",".join(f"({','.join(map(engine.literal, key))})" for key in keys)
        query = f"SELECT {columns} FROM {engine.quoted(self.table.name)} WHERE ({columns}) IN ({wanted})"  # noqa: S608
        return {tuple(map(str, row)) for row in self.connection.rows(query)}
