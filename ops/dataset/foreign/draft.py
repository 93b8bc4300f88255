"""Draft the tables of a definition from a database schema, with a reason for each table left out, without I/O.

The cursor is the time column that shows which rows changed. A candidate is never null, and either the server writes it
at every change (ON UPDATE) or its name suggests that the application does (`updated_at`, `last_update` and the like).
Columns that the server writes are preferred, then columns that are the first of an index. A DATETIME has no time zone
and is read as UTC, so it is not a candidate if the server's time zone differs.

The topic key is the first column of the primary key. Each table comes after the tables that its foreign keys reference.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

import msgspec

from config.contradictions import faults
from config.definition import Definition, LogicalType, Table
from ops.dataset.foreign.dialect import MYSQL, Dialect
from ops.dataset.foreign.read import ForeignColumn, ForeignTable
from ops.mysql_schema import reference_warning

LAKE_COLUMNS: Final = {
    "year", "month", "day", "_op", "_sequence", "_committed_at", "_landed_at", "_run_id", "_row_hash", "_origin",
    "_rest", "_deleted", "_change_type", "_commit_version", "_commit_timestamp", "_problem", "_is_tombstone", "_names",
    "_key", "_value", "_row", "_more", "_violations", "_rank",
}  # fmt: skip
"""Columns that the lake adds to every table, also those that exist only while rows are processed."""

LAKE_PREFIXES: Final = ("_there_", "_asked_")
"""Beginnings of the names of further such columns."""

NO_KEY: Final = (
    "has no primary key to identify its rows: add one to the table, or write the table into the definition with feed "
    "jdbc and the columns that identify its rows as key"
)

_CHANGED: Final = re.compile(
    r"(last_?|date_?)?(up_?date|modif|change|edit)[a-z]*(_?(at|on|time|date|ts|timestamp|utc))?"
)


@dataclass(frozen=True, kw_only=True)
class TableDraft:
    """Draft of a table for the definition.

    Attributes:
        name: name of the table in the database.
        table: the table's entry in the definition; None if the table is left out.
        reasons: reasons for leaving the table out.
        without: columns that are left out, each with the reason.
        remarks: comments for the reader of the definition.
        warnings: those among them that are shown on the screen too.
    """

    name: str
    table: Table | None = None
    reasons: tuple[str, ...] = ()
    without: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def drafts(
    tables: Iterable[ForeignTable],
    *,
    is_utc: bool,
    dialect: Dialect = MYSQL,
    feed: str = "jdbc",
    unwanted: Collection[tuple[str, str]] = (),
) -> list[TableDraft]:
    """Draft every table and view, referenced tables first.

    Args:
        is_utc: whether the server's time zone is UTC.
        feed: the way in which the lake is to read the tables.
        unwanted: table and name of each column to leave out.
    """
    found: list[TableDraft] = []
    taken: set[str] = set()
    for table in _parents_first(list(tables)):
        without = _left_out(table, dialect, {column for name, column in unwanted if name == table.name})
        kept = replace(table, columns=tuple(c for c in table.columns if c.name not in without))
        reasons = table_faults(kept, dialect, feed)
        if table.name.lower() in taken:
            reasons.append("another table's name differs only in case, and the lake ignores case")
        if reasons:
            found.append(TableDraft(name=table.name, reasons=tuple(reasons)))
            continue
        taken.add(table.name.lower())
        cursor, remarks = chosen_cursor(kept, is_utc=is_utc, dialect=dialect)
        warnings = [reference_warning(list(kept.cascades))] if kept.cascades and not dialect.logs_cascades else []
        draft = TableDraft(
            name=table.name,
            table=msgspec.convert(_as_document(kept, dialect, feed, cursor), Table),
            without=tuple(without.items()),
            remarks=(*remarks, *_remarks(kept, dialect, without), *warnings),
            warnings=tuple(warnings),
        )
        found.append(draft)
    return found


def _left_out(table: ForeignTable, dialect: Dialect, unwanted: Collection[str]) -> dict[str, str]:
    """Return the columns that a definition can't have or that nobody wants, with the reason; never one of the key."""
    found = {}
    for column in table.columns:
        if column.name in table.key or not table.key:
            continue
        if column.name in unwanted:
            found[column.name] = "by --leave-out-columns"
        elif dialect.typed(column) is None:
            found[column.name] = f"type {column.column_type} is not supported"
        elif _is_reserved(column.name):
            found[column.name] = "the lake adds a column of this name to every table"
        elif not _is_identifier(column.name):
            found[column.name] = _wrong_name(column.name)
    return found


def _remarks(table: ForeignTable, dialect: Dialect, without: Mapping[str, str]) -> list[str]:
    found = [f"without {name}: {reason}" for name, reason in without.items()]
    if len(table.key) > 1:
        others = ", ".join(table.key[1:])
        found.append(f"topic_key: the first column of the key; {others} would also be possible")
    return found + [remark for column in table.columns for remark in dialect.remarks(column)]


def table_faults(table: ForeignTable, dialect: Dialect = MYSQL, feed: str = "jdbc") -> list[str]:
    """List the reasons why a table can't be part of a definition, with a way out if there is one; empty if it can."""
    if not table.is_table:
        return [f"is a {table.kind.lower()}, not a table"]
    if table.is_partitioned and feed == "changes":
        return ["is partitioned, and only ordinary tables can be captured: draft another dataset with --feed jdbc"]
    found = [] if table.key else [NO_KEY]
    for column in table.columns:
        if dialect.typed(column) is None:
            found.append(f"column {column.name}: type {column.column_type} is not supported")
        elif column.name in table.key and dialect.typed(column) == {"type": LogicalType.DOUBLE}:
            found.append(f"column {column.name}: a key of type {column.column_type} can't be compared exactly")
        if _is_reserved(column.name):
            found.append(f"column {column.name}: the lake adds a column of this name to every table")
    return found or _definition_errors(table, dialect)


def chosen_cursor(table: ForeignTable, *, is_utc: bool, dialect: Dialect = MYSQL) -> tuple[str | None, list[str]]:
    """Choose the column that shows which rows changed; return it (None if there is none) and remarks for the reader."""
    times = [column for column in table.columns if column.data_type in dialect.times]
    fit = [column for column in times if not _unfit(column, dialect, is_utc=is_utc)]
    best = min(fit, key=lambda column: (not column.is_set_on_update, not column.is_indexed), default=None)
    remarks = []
    if best is None:
        remarks.append("cursor: none; every run reads the whole table")
    else:
        why = (
            "the server writes it at every change"
            if best.is_set_on_update
            else "its name suggests that the application writes it at every change"
        )
        index = "" if best.is_indexed else "; without an index, every run scans the whole table"
        remarks.append(f"cursor: {best.name}, because {why}, and it is never null{index}")
        if not best.is_set_on_update:
            remarks.append(f"cursor: make sure that the application writes {best.name} at every change, in UTC")
    for column in times:
        if column is not best:
            unfit = _unfit(column, dialect, is_utc=is_utc)
            remarks.append(f"cursor: not {column.name}: {unfit or 'suitable, but the chosen column is preferred'}")
    return None if best is None else best.name, remarks


def _unfit(column: ForeignColumn, dialect: Dialect, *, is_utc: bool) -> str:
    if not column.is_set_on_update and not _CHANGED.fullmatch(column.name.lower()):
        return "nothing indicates that it is written at every change"
    if column.is_nullable:
        return "it may be null"
    if column.data_type == dialect.zoneless and not is_utc:
        return (
            f"a {dialect.zoneless.upper()} has no time zone and is read as UTC, but the server's time zone is not UTC"
        )
    return ""


def _as_document(table: ForeignTable, dialect: Dialect, feed: str, cursor: str | None = None) -> dict[str, Any]:
    columns = []
    for column in table.columns:
        typed = {"name": column.name, **(dialect.typed(column) or {})}
        if column.is_nullable:
            typed["nullable"] = True
        columns.append(typed | _described(column.comment))
    found = {"name": table.name, **_described(table.comment), "key": list(table.key), "topic_key": table.key[0]}
    return found | ({"cursor": cursor} if cursor else {}) | {"feed": feed, "history": 1, "columns": columns}


def _described(comment: str) -> dict[str, str]:
    text = " ".join("".join(c if c.isprintable() else " " for c in comment).split())
    return {"description": text} if text else {}


def _definition_errors(table: ForeignTable, dialect: Dialect) -> list[str]:
    """List the errors in a definition that contains only this table."""
    whole = {"folder": ".", "name": "x", "engine": dialect.engine, "database": "x", "lake_prefix": "x"}
    try:
        definition = msgspec.convert({**whole, "tables": [_as_document(table, dialect, "jdbc")]}, Definition)
    except msgspec.ValidationError as error:
        wrong = [name for name in (table.name, *(c.name for c in table.columns)) if not _is_identifier(name)]
        return [_wrong_name(name) for name in wrong] or [str(error)]
    return [fault.removeprefix("tables[0].") for fault in faults(definition)]


def _wrong_name(name: str) -> str:
    return f"the name {name!r} has characters other than A–Z, a–z, 0–9 and _, or is too long"


def _is_reserved(name: str) -> bool:
    return name.lower() in LAKE_COLUMNS or name.lower().startswith(LAKE_PREFIXES)


def _is_identifier(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name) is not None


def _parents_first(tables: Sequence[ForeignTable]) -> list[ForeignTable]:
    """Sort the tables so that each comes after those it references; ignore references that would form a cycle."""
    by_name = {table.name: table for table in tables}
    parents = {t.name: {name for name in t.references if name != t.name and name in by_name} for t in tables}
    while True:  # each iteration removes one reference of a cycle
        try:
            return [by_name[name] for name in TopologicalSorter(parents).static_order()]
        except CycleError as error:
            parent, child, *_ = error.args[1]
            parents[child].remove(parent)
