"""Read the tables and columns of a PostgreSQL schema from the system catalogue."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from config.engines.base import Connection
from ops.dataset.foreign.read import OWN_TABLES, ForeignColumn, ForeignTable
from stack.errors import StackError

_KINDS: Final = {
    "r": "BASE TABLE",
    "p": "PARTITIONED TABLE",
    "v": "VIEW",
    "m": "MATERIALIZED VIEW",
    "f": "FOREIGN TABLE",
    "part": "PARTITION",
}
_TABLES: Final = """
SELECT c.relname, CASE WHEN c.relispartition THEN 'part' ELSE c.relkind::text END, obj_description(c.oid, 'pg_class'),
  (SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum))
   FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
   WHERE i.indrelid = c.oid AND i.indisprimary)
FROM pg_class AS c
WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY c.relname COLLATE "C"
"""
# The type of a domain is the one that it is made of; its limit is that of the domain.
_COLUMNS: Final = """
SELECT c.relname, a.attname, CASE WHEN b.typtype = 'e' THEN 'enum' ELSE b.typname END,
  CASE WHEN b.typtype = 'e' THEN 'text'
       ELSE format_type(b.oid, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END) END,
  a.attnotnull OR t.typnotnull,
  EXISTS (SELECT 1 FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum),
  col_description(c.oid, a.attnum)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid JOIN pg_type AS t ON t.oid = a.atttypid
JOIN pg_type AS b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0
  AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
"""
_REFERENCES: Final = """
SELECT DISTINCT c.relname, r.relname FROM pg_constraint AS k
JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_class AS r ON r.oid = k.confrelid
WHERE k.contype = 'f' AND c.relnamespace = %s::regnamespace AND r.relnamespace = c.relnamespace ORDER BY 1, 2
"""
_UPDATE_TRIGGERS: Final = """
SELECT c.relname, p.prosrc FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid
JOIN pg_proc AS p ON p.oid = g.tgfoid
WHERE c.relnamespace = %s::regnamespace AND NOT g.tgisinternal AND g.tgtype & 2 = 2 AND g.tgtype & 16 = 16
"""
_ASSIGNED: Final = re.compile(r"\bnew\s*\.\s*\"?(\w+)\"?\s*:?=", re.IGNORECASE)
_LIMITS: Final = re.compile(r"\((\d+)(?:,(-?\d+))?\)")


def read_postgres_tables(connection: Connection, schema: str) -> list[ForeignTable]:
    """Read every table and view of a schema, sorted by name.

    Raises:
        StackError: the schema has no tables, or the user may not see any.
    """
    if not connection.value("SELECT to_regnamespace(%s) IS NOT NULL", (connection.quoted(schema),)):
        raise StackError(f"the database has no schema {schema!r}: choose one with --schema")
    place = connection.quoted(schema)
    columns, references = _columns(connection, place), defaultdict[str, list[str]](list)
    for table, parent in connection.rows(_REFERENCES, (place,)):
        references[table].append(parent)
    found = []
    for name, kind, comment, key in connection.rows(_TABLES, (place,)):
        if name in OWN_TABLES:
            continue
        table = ForeignTable(
            name=name,
            kind=_KINDS[kind],
            columns=tuple(columns[name]),
            key=tuple(key or ()),
            references=tuple(references[name]),
            comment=comment or "",
        )
        found.append(table)
    if not found:
        raise StackError(f"schema {schema!r} has no table that this user may see: check the name and the privileges")
    return found


def postgres_statement(table: ForeignTable, schema: str) -> str:
    """Return a statement that creates a table with these columns and this key, whose changes can be captured."""
    name = f'"{schema}"."{table.name}"'
    lines = [
        f'    "{column.name}" {column.column_type}{"" if column.is_nullable else " NOT NULL"}'
        for column in table.columns
    ]
    key = ", ".join(f'"{column}"' for column in table.key)
    lines.append(f"    PRIMARY KEY ({key})")
    body = ",\n".join(lines)
    return f"CREATE TABLE IF NOT EXISTS {name} (\n{body}\n);\nALTER TABLE {name} REPLICA IDENTITY FULL;"


def _columns(connection: Connection, place: str) -> defaultdict[str, list[ForeignColumn]]:
    written = _written_by_triggers(connection.rows(_UPDATE_TRIGGERS, (place,)))
    found: defaultdict[str, list[ForeignColumn]] = defaultdict(list)
    for table, name, kind, whole, is_required, is_indexed, comment in connection.rows(_COLUMNS, (place,)):
        limits = _LIMITS.search(whole)
        first, second = (None, None) if limits is None else (int(limits[1]), limits[2])
        column = ForeignColumn(
            name=name,
            data_type=kind,
            column_type=whole,
            is_nullable=not is_required,
            length=first if kind in ("varchar", "bpchar") else None,
            precision=first if kind == "numeric" else None,
            scale=int(second or 0) if kind == "numeric" and first is not None else None,
            is_set_on_update=(table, name.lower()) in written,
            is_indexed=is_indexed,
            comment=comment or "",
        )
        found[table].append(column)
    return found


def _written_by_triggers(triggers: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return table and column of each assignment to NEW in the triggers that run before an update of a row."""
    return {(table, match[1].lower()) for table, source in triggers for match in _ASSIGNED.finditer(source)}
