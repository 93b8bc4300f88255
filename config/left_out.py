"""Columns that the connector leaves out on purpose: those that its setting `column.exclude.list` names."""

from __future__ import annotations

import re
from typing import Final

from config.definition import Definition, Table
from config.naming import source_schema

_SETTING: Final = "column.exclude.list"


def left_out(definition: Definition) -> list[str]:
    """Return regular expressions for whole names of columns, such as `database.table.column`, left out on purpose."""
    names = definition.connector.get(_SETTING, "").split(",")
    return [f"^(?i:{name.strip()})$" for name in names if name.strip()]


def is_left_out(table: Table, name: str, definition: Definition) -> bool:
    """Whether a column of the source is left out on purpose."""
    column = f"{source_schema(definition)}.{table.source_name}.{name}"
    return any(re.match(pattern, column) for pattern in left_out(definition))
