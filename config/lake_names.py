"""Names of tables and columns in the lake: those of the source, in lower snake case, by one rule for all datasets."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from config.definition import (
    Ascending,
    AtMost,
    Column,
    Definition,
    Forward,
    NotNull,
    Pattern,
    Range,
    Reference,
    Rule,
    Table,
    Unique,
)

_WORD_BEGINS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class RenamedColumn(Column, frozen=True, kw_only=True):
    """A column whose name in the lake is not its name in the source, `source`."""

    source: str

    @property
    def source_name(self) -> str:
        """Name of the column in the source."""
        return self.source


class RenamedTable(Table, frozen=True, kw_only=True):
    """A table with the names of the lake; `source` is its own name in the source."""

    source: str

    @property
    def source_name(self) -> str:
        """Name of the table in the source."""
        return self.source


def lake_name(name: str) -> str:
    """Return the name in the lake of a table or column of the source: `OrderItems` becomes `order_items`."""
    return _WORD_BEGINS.sub("_", name).lower()


def in_lake(definition: Definition) -> Definition:
    """Return a definition with the names of the lake; the definition itself if its names are those already."""
    tables = tuple(_in_lake(table) for table in definition.tables)
    return definition if tables == definition.tables else msgspec.structs.replace(definition, tables=tables)


def lake_name_faults(tables: Sequence[Table]) -> Iterator[str]:
    """List the tables and columns whose names differ in the source, but not in the lake."""
    names = [name for table in tables for name in (table.name, table.history_name) if name is not None]
    for name, collided in _collisions(names):
        yield f"tables: tables {collided} would both be {name!r} in the lake: rename one of them in the source"
    for index, table in enumerate(tables):
        for name, collided in _collisions(table.column_names):
            text = f"columns {collided} would both be {name!r} in the lake: rename one of them, or leave it out"
            yield f"tables[{index}].columns: {text}"


def _collisions(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each name in the lake that several names have, with these."""
    sources = defaultdict[str, set[str]](set)
    for name in names:
        sources[lake_name(name)].add(name)
    for name, found in sources.items():
        if len(found) > 1:
            yield name, " and ".join(map(repr, sorted(found)))


def _in_lake(table: Table) -> Table:
    if all(lake_name(name) == name for name in (table.name, *table.column_names)):
        return table if not _names_others(table) else msgspec.structs.replace(table, rules=_rules(table))
    values = msgspec.structs.asdict(table) | {
        "name": lake_name(table.name),
        "key": tuple(map(lake_name, table.key)),
        "columns": tuple(map(_column, table.columns)),
        "topic_key": None if table.topic_key is None else lake_name(table.topic_key),
        "cursor": None if table.cursor is None else lake_name(table.cursor),
        "rules": _rules(table),
    }
    return RenamedTable(**values, source=table.name)


def _names_others(table: Table) -> bool:
    """Return whether a rule names a table that has another name in the lake."""
    return any(isinstance(rule, Reference | AtMost) and lake_name(rule.table) != rule.table for rule in table.rules)


def _column(column: Column) -> Column:
    name = lake_name(column.name)
    if name == column.name:
        return column
    return RenamedColumn(**msgspec.structs.asdict(column) | {"name": name}, source=column.name)


def _rules(table: Table) -> tuple[Rule, ...]:
    return tuple(map(_rule, table.rules))


def _rule(rule: Rule) -> Rule:
    replace = msgspec.structs.replace
    match rule:
        case Unique() | Ascending():
            return replace(rule, columns=tuple(map(lake_name, rule.columns)))
        case Reference():
            return replace(rule, column=lake_name(rule.column), table=lake_name(rule.table))
        case AtMost():
            names = {name: lake_name(getattr(rule, name)) for name in ("column", "by", "table", "of")}
            return replace(rule, **names)
        case NotNull() | Range() | Pattern() | Forward():
            return replace(rule, column=lake_name(rule.column))
    raise AssertionError(f"unknown rule {rule!r}")
