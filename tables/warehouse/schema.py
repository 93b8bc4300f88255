"""The statements that create the warehouse's tables; they may be repeated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from streams.model.warehouse import WarehouseTable

OFFSETS: Final = "stream_offsets"
LETTERS: Final = "dlq_events"
ERASED: Final = "erased_rows"

_OWN_TABLES: Final = """\
CREATE TABLE IF NOT EXISTS {schema}.stream_offsets (
    app text, topic text, partition integer, next bigint, owner uuid NOT NULL, topic_id text,
    PRIMARY KEY (app, topic, partition)
);
CREATE TABLE IF NOT EXISTS {schema}.dlq_events (
    app text, topic text, partition integer, "offset" bigint, recorded_at timestamptz,
    written_at timestamptz NOT NULL, reason text NOT NULL, key bytea, value bytea, headers jsonb NOT NULL,
    PRIMARY KEY (app, topic, partition, "offset", recorded_at)
);
CREATE TABLE IF NOT EXISTS {schema}.erased_rows (
    name text, key text, erased_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (name, key)
);
"""


def quoted(name: str) -> str:
    """Quote a name."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def schema_script(schema: str, tables: Iterable[WarehouseTable]) -> str:
    """Return the script that creates a schema and its tables, and adds the columns that a table lacks."""
    statements = [f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)};\n", _OWN_TABLES.format(schema=quoted(schema))]
    return "".join([*statements, *(text for table in tables for text in _table_statements(schema, table))])


def column_types(table: WarehouseTable) -> dict[str, str]:
    """Return the SQL types of a table's columns, as PostgreSQL names them."""
    own = {name: type_.partition(" COLLATE")[0] for name, type_ in table.own_columns.items()}
    found = {column.name: column.stored for column in table.columns} | own
    return {name: _FULL_NAMES.get(type_, type_) for name, type_ in found.items()}


_FULL_NAMES: Final = {"timestamptz": "timestamp with time zone"}


def _table_statements(schema: str, table: WarehouseTable) -> Iterator[str]:
    """Yield the statements of one table.

    Columns of the source may be null, whatever the definition says: a column that is added later has no values at
    first. There are no foreign keys, because an order may arrive before its customer. Room in the pages lets updates
    stay in their page.
    """
    name = f"{quoted(schema)}.{quoted(table.name)}"
    own = {column: f"{type_} NOT NULL" for column, type_ in table.own_columns.items()}
    columns = {column.name: column.stored for column in table.columns} | own
    lines = ",\n    ".join(f"{quoted(column)} {type_}" for column, type_ in columns.items())
    key = ", ".join(map(quoted, table.key))
    yield f"CREATE TABLE IF NOT EXISTS {name} (\n    {lines},\n    PRIMARY KEY ({key})\n) WITH (fillfactor = 80);\n"
    for column in table.columns:
        if column.name not in table.key:
            yield f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {quoted(column.name)} {column.stored};\n"
