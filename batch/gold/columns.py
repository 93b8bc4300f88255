"""Parses the descriptions of columns in a Gold table's file: one line per column, in the order of the query.

    -- column: <name> <type> from <table>.<column>, …: <meaning, with its unit>

The type is a Spark type. `from` lists the Silver columns that the column is computed from; without any, it is left out.
These lines are not part of the query: changing them does not rebuild the table.
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
    """A column of a Gold table; `sources` are the Silver tables and columns that it is computed from."""

    name: str
    type: str
    sources: tuple[tuple[str, str], ...]
    meaning: str


def split_columns(text: str) -> tuple[tuple[GoldColumn, ...], str]:
    """Return the columns that a file describes, and the file's text without these lines.

    Raises:
        ValueError: one line per fault, each "column: fault".
    """
    columns, others, faults = [], [], []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            others.append(line)
            continue
        form = _FORM.fullmatch(match[1].strip())
        if form is None:
            faults.append(f"column: {match[1].strip()!r} must be like {_SHAPE}")
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
    """Return the contradictions between column descriptions and header: sources that are not read, a missing key."""
    known: Mapping[str, Sequence[str]] = {table.name: table.column_names for table in definition.tables}
    faults = [
        f"column: {column.name!r} is said to come from {table}.{name}, which the table does not read"
        for column in columns
        for table, name in column.sources
        if table not in tables or name not in known.get(table, ())
    ]
    names = [column.name for column in columns]
    return faults + [f"column: {name!r} of the key is not described" for name in key if columns and name not in names]
