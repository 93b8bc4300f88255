"""Draft the tables of a definition from a database schema, with a reason for each table left out, without I/O.

The cursor is the time column that shows which rows changed. A candidate is never null, and either the server writes it
at every change (ON UPDATE) or its name suggests that the application does (`updated_at`, `last_update` and the like).
Columns that the server writes are preferred, then columns that are the first of an index. A DATETIME has no time zone
and is read as UTC, so it is not a candidate if the server's time zone differs.

The topic key is the first column of the primary key. Each table comes after the tables that its foreign keys reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

import msgspec

from config.contradictions import faults
from config.definition import Definition, LogicalType, Table
from ops.connector.settings import SIGNAL_TABLE
from ops.dataset.foreign.read import ForeignColumn, ForeignTable

WHOLE: Final = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64, "year": 16}
TEXTS: Final = {"char", "varchar", "enum", "set"}
LONG_TEXTS: Final = {"tinytext", "text", "mediumtext", "longtext", "json"}
PLAIN: Final = {
    "float": LogicalType.DOUBLE,
    "double": LogicalType.DOUBLE,
    "date": LogicalType.DATE,
    "datetime": LogicalType.TIMESTAMP,
    "timestamp": LogicalType.TIMESTAMP,
    "uuid": LogicalType.UUID,
}
TIMES: Final = {"datetime", "timestamp"}
LAKE_COLUMNS: Final = {
    "year", "month", "day", "_op", "_sequence", "_committed_at", "_landed_at", "_run_id", "_row_hash", "_origin",
    "_deleted",
}  # fmt: skip
"""Columns that the lake adds to every table."""

_CHANGED: Final = re.compile(
    r"(last_?|date_?)?(up_?date|modif|change|edit)[a-z]*(_?(at|on|time|date|ts|timestamp|utc))?"
)
_MOST_DIGITS: Final = 38


@dataclass(frozen=True, kw_only=True)
class TableDraft:
    """Draft of a table for the definition.

    Attributes:
        name: name of the table in the database.
        table: the table's entry in the definition; None if the table is left out.
        reasons: reasons for leaving the table out.
        remarks: comments for the reader of the definition.
    """

    name: str
    table: Table | None = None
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def drafts(tables: Iterable[ForeignTable], *, is_utc: bool) -> list[TableDraft]:
    """Draft every table and view, referenced tables first; `is_utc` says whether the server's time zone is UTC."""
    found: list[TableDraft] = []
    taken: set[str] = set()
    for table in _parents_first(list(tables)):
        reasons = table_faults(table)
        if table.name.lower() in taken:
            reasons.append("another table's name differs only in case, and the lake ignores case")
        if reasons:
            found.append(TableDraft(name=table.name, reasons=tuple(reasons)))
            continue
        taken.add(table.name.lower())
        cursor, remarks = chosen_cursor(table, is_utc=is_utc)
        if len(table.key) > 1:
            others = ", ".join(table.key[1:])
            remarks.append(f"topic_key: the first column of the key; {others} would also be possible")
        remarks += [remark for column in table.columns for remark in _column_remarks(column)]
        drafted = msgspec.convert(_as_document(table, cursor), Table)
        found.append(TableDraft(name=table.name, table=drafted, remarks=tuple(remarks)))
    return found


def table_faults(table: ForeignTable) -> list[str]:
    """List the reasons why a table can't be part of a definition; empty if it can."""
    if not table.is_table:
        return [f"is a {table.kind.lower()}, not a table"]
    if table.name == SIGNAL_TABLE:
        return ["is the table of signals for the connector"]
    found = [] if table.key else ["has no primary key to identify its rows"]
    for column in table.columns:
        if _typed(column) is None:
            found.append(f"column {column.name}: type {column.column_type} is not supported")
        elif column.name in table.key and column.data_type in ("float", "double"):
            found.append(f"column {column.name}: a key of type {column.column_type} can't be compared exactly")
        if column.name.lower() in LAKE_COLUMNS:
            found.append(f"column {column.name}: the lake adds a column of this name to every table")
    return found or _definition_errors(table)


def chosen_cursor(table: ForeignTable, *, is_utc: bool) -> tuple[str | None, list[str]]:
    """Choose the column that shows which rows changed; return it (None if there is none) and remarks for the reader."""
    times = [column for column in table.columns if column.data_type in TIMES]
    fit = [column for column in times if not _unfit(column, is_utc=is_utc)]
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
            unfit = _unfit(column, is_utc=is_utc)
            remarks.append(f"cursor: not {column.name}: {unfit or 'suitable, but the chosen column is preferred'}")
    return None if best is None else best.name, remarks


def _unfit(column: ForeignColumn, *, is_utc: bool) -> str:
    if not column.is_set_on_update and not _CHANGED.fullmatch(column.name.lower()):
        return "nothing indicates that it is written at every change"
    if column.is_nullable:
        return "it may be null"
    if column.data_type == "datetime" and not is_utc:
        return "a DATETIME has no time zone and is read as UTC, but the server's time zone is not UTC"
    return ""


def _typed(column: ForeignColumn) -> dict[str, Any] | None:
    """Map a column's type to its type in a dataset definition; None if the type is not supported."""
    kind, is_unsigned = column.data_type, "unsigned" in column.column_type
    if kind in WHOLE:
        return {"type": LogicalType.INTEGER if WHOLE[kind] + is_unsigned <= 32 else LogicalType.BIGINT}
    if kind in TEXTS:
        return {"type": LogicalType.STRING, **({"length": column.length} if column.length else {})}
    if kind in LONG_TEXTS:
        return {"type": LogicalType.STRING}
    if kind == "decimal" and (column.precision or 0) <= _MOST_DIGITS:
        return {"type": LogicalType.DECIMAL, "precision": column.precision, "scale": column.scale}
    if kind == "bit" and column.precision == 1:
        return {"type": LogicalType.BOOLEAN}
    return {"type": PLAIN[kind]} if kind in PLAIN else None


def _column_remarks(column: ForeignColumn) -> list[str]:
    if column.column_type.startswith("tinyint(1)"):
        return [f"{column.name}: tinyint(1); the type can be boolean if the only values are 0 and 1"]
    if column.data_type == "bigint" and "unsigned" in column.column_type:
        return [f"{column.name}: unsigned; values above 9,223,372,036,854,775,807 are quarantined"]
    return []


def _as_document(table: ForeignTable, cursor: str | None = None) -> dict[str, Any]:
    columns = []
    for column in table.columns:
        typed = {"name": column.name, **(_typed(column) or {})}
        if column.is_nullable:
            typed["nullable"] = True
        columns.append(typed | _described(column.comment))
    found = {"name": table.name, **_described(table.comment), "key": list(table.key), "topic_key": table.key[0]}
    return found | ({"cursor": cursor} if cursor else {}) | {"feed": "jdbc", "history": 1, "columns": columns}


def _described(comment: str) -> dict[str, str]:
    text = " ".join("".join(c if c.isprintable() else " " for c in comment).split())
    return {"description": text} if text else {}


def _definition_errors(table: ForeignTable) -> list[str]:
    """List the errors in a definition that contains only this table."""
    whole = {"folder": ".", "name": "x", "engine": "mysql", "database": "x", "lake_prefix": "x"}
    try:
        definition = msgspec.convert({**whole, "tables": [_as_document(table)]}, Definition)
    except msgspec.ValidationError as error:
        wrong = [name for name in (table.name, *(c.name for c in table.columns)) if not _is_identifier(name)]
        reasons = [f"the name {name!r} has characters other than A–Z, a–z, 0–9 and _, or is too long" for name in wrong]
        return reasons or [str(error)]
    return [fault.removeprefix("tables[0].") for fault in faults(definition)]


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
