"""Parses the column descriptions in the SQL file of a Gold table: one line per column, in the order of the query.

    -- column: <name> <type> from <table>.<column>, …: <meaning, with its unit>

The type is a Spark type. `from` lists the Silver columns from which the column is computed; it is omitted if there are
none. These lines are not part of the query, so changing them does not rebuild the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from config.definition import Definition

_LINE: Final = re.compile(r"--\s*column\s*:(.*)$")
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_SOURCE: Final = rf"{_NAME}\.{_NAME}"
_FORM: Final = re.compile(
    rf"(?P<name>{_NAME}) (?P<type>[a-z]+(?:\(\d+,\d+\))?)"
    rf"(?: from (?P<sources>{_SOURCE}(?:, {_SOURCE})*))?: (?P<meaning>\S.*)"
)
_SHAPE: Final = "<name> <type> from <table>.<column>, …: <meaning>"


@dataclass(frozen=True, kw_only=True)
class GoldColumn:
    """The description of a Gold column; `sources` are the Silver (table, column) pairs that it is computed from."""

    name: str
    type: str
    sources: tuple[tuple[str, str], ...]
    meaning: str


def split_columns(text: str) -> tuple[tuple[GoldColumn, ...], str]:
    """Return the column descriptions in the text of a SQL file, and the text without these lines.

    Raises:
        ValueError: a description is malformed or repeated; the message has one line per fault.
    """
    columns, others, faults = [], [], []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            others.append(line)
            continue
        form = _FORM.fullmatch(match[1].strip())
        if form is None:
            faults.append(f"column: {match[1].strip()!r} must look like {_SHAPE}")
            continue
        sources = [tuple(part.split(".")) for part in re.split(", ", form["sources"] or "") if part]
        columns.append(
            GoldColumn(
                name=form["name"],
                type=form["type"],
                sources=tuple((table, column) for table, column in sources),
                meaning=form["meaning"],
            )
        )
    names = [column.name for column in columns]
    faults += [f"column: {name!r} is described twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if faults:
        raise ValueError("\n".join(faults))
    return tuple(columns), "\n".join(others) + ("\n" if text.endswith("\n") else "")


def column_faults(
    columns: Sequence[GoldColumn], *, key: Sequence[str], tables: Sequence[str], definition: Definition
) -> list[str]:
    """Return the faults in column descriptions: unknown source columns, and key columns without a description."""
    known: Mapping[str, Sequence[str]] = {table.name: table.column_names for table in definition.tables}
    faults = [
        f"column: source {table}.{name} of {column.name!r} is not a column of a table that the header names"
        for column in columns
        for table, name in column.sources
        if table not in tables or name not in known.get(table, ())
    ]
    names = [column.name for column in columns]
    return faults + [f"column: key column {name!r} is not described" for name in key if columns and name not in names]
