"""Format the two files of a dataset's folder, `definition.yaml` and `schema.sql`, without I/O."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import yaml

from config.definition import Table
from ops.dataset.foreign.draft import TableDraft
from ops.dataset.foreign.read import ForeignTable
from ops.dataset.foreign.read_postgres import postgres_statement

_HEAD: Final = """\
# Drafted from the schema of database {database}. Check it: names and types come from the source, everything
# else was chosen by rules.
#
# feed       jdbc: the lake reads the tables from the database itself. changes: it reads their changes from the archive;
#            then run capture.sql on the source first, and topics, connector and `streams.archive` are needed.
# cursor     the time column that shows which rows changed, for the feed jdbc. It is never null, and either the server
#            writes it at every change (ON UPDATE, a trigger) or its name suggests that the application does. Columns
#            that the server writes are preferred, then columns with an index. A table without a cursor is read in full;
#            deletes in tables with a cursor are found by `millrace lake reconcile`.
# topic_key  the first column of the key.
"""
_SCHEMA_HEADS: Final = {
    "mysql": "-- Output of SHOW CREATE TABLE, with IF NOT EXISTS added. Tables may reference later ones.",
    "postgres": "-- Columns and keys of the tables; without defaults, rules and types of their own, such as enums.",
}
_CAPTURE_MYSQL: Final = """\
-- For the feed `changes`: an administrator runs this on the source, so that the connector may read its log. Give the
-- account as Connect logs in with it (CONNECTOR_DATABASE_USER there); create it first if it does not exist.
GRANT RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'connector'@'%';
GRANT SELECT, LOCK TABLES ON `{pattern}`.* TO 'connector'@'%';
-- The table through which it is asked to read a table again; the account of the commands creates it. CREATE, because
-- only with this right may others be granted on a table that does not exist yet.
GRANT CREATE, INSERT, DELETE ON `{database}`.millrace_signal TO 'connector'@'%';
-- The server needs log_bin, binlog_format = ROW and binlog_row_image = FULL.
"""
_CAPTURE_POSTGRES: Final = """\
-- For the feed `changes`: the owner of the tables runs this on the source, so that its log has whole rows. The rest is
-- made by `millrace connector apply`, which names what else an administrator must change (wal_level = logical).
"""
_LOWEST_SERVER_ID: Final = 10_000
_SERVER_IDS: Final = 1_000_000


def definition_text(
    name: str, database: str, found: Sequence[TableDraft], *, engine: str = "mysql", schema: str | None = None
) -> str:
    """Format the content of `definition.yaml`."""
    lines = [_HEAD.format(database=_plain(database))]
    out = [draft for draft in found if draft.table is None]
    if out:
        lines += ["# Tables left out, with the reason:"]
        lines += [f"#   {_plain(draft.name)}: {_plain(reason)}" for draft in out for reason in draft.reasons]
        lines += [""]
    lines += [
        f"name: {_scalar(name)}",
        f"engine: {engine}",
        f"database: {_scalar(database)}",
        *([] if schema is None else [f"schema: {_scalar(schema)}"]),
        f"lake_prefix: {_scalar(name)}",
    ]
    connector = _connector_lines(name, schema or database, found, engine)
    lines += [*(["", "connector:", *connector] if connector else []), "", "tables:"]
    tables = ["\n".join(_table_lines(draft.table, draft.remarks)) for draft in found if draft.table is not None]
    return "\n".join(lines) + "\n" + "\n\n".join(tables) + "\n"


def _connector_lines(name: str, place: str, found: Iterable[TableDraft], engine: str) -> list[str]:
    """Format the connector's settings.

    Args:
        place: the first part of a column's whole name: its database in MySQL, its schema in PostgreSQL.
    """
    lines = []
    if engine == "mysql":
        lines.append("  # This number must be unique among the database server and all readers of its log.")
        lines.append(f'  database.server.id: "{_server_id(name)}"')
    out = [re.escape(f"{place}.{draft.name}.{column}") for draft in found for column, _ in draft.without]
    if out:
        lines.append("  # Columns that are left out below do not go to Kafka either.")
        lines.append(f"  column.exclude.list: {_scalar(','.join(name for name in out if ',' not in name))}")
    return lines


def schema_text(tables: Iterable[ForeignTable]) -> str:
    """Format MySQL's `schema.sql`: SHOW CREATE TABLE of every table, including tables that were left out."""
    statements = [
        table.create_statement.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1) + ";"
        for table in tables
        if table.create_statement
    ]
    checks = "SET SESSION foreign_key_checks = {};"
    return "\n\n".join([_SCHEMA_HEADS["mysql"], checks.format(0), *statements, checks.format(1)]) + "\n"


def postgres_schema_text(tables: Iterable[ForeignTable], found: Iterable[TableDraft], schema: str) -> str:
    """Format PostgreSQL's `schema.sql`: columns and keys of the tables in the definition."""
    drafted = {draft.name for draft in found if draft.table is not None}
    statements = [postgres_statement(table, schema) for table in tables if table.name in drafted]
    head = [_SCHEMA_HEADS["postgres"], f'CREATE SCHEMA IF NOT EXISTS "{schema}";']
    return "\n\n".join([*head, *statements]) + "\n"


def capture_text(database: str, found: Iterable[TableDraft], *, schema: str | None) -> str:
    """Format `capture.sql`: what is to be changed on the source before its changes can be read.

    Args:
        schema: the schema of a PostgreSQL database; None for MySQL.
    """
    if schema is None:
        pattern = database.replace("_", "\\_")  # an underscore alone would match any character
        return _CAPTURE_MYSQL.format(database=database, pattern=pattern)
    names = [draft.name for draft in found if draft.table is not None]
    lines = [f'ALTER TABLE "{schema}"."{name}" REPLICA IDENTITY FULL;' for name in names]
    return _CAPTURE_POSTGRES + "\n".join(lines) + "\n"


def _table_lines(table: Table, remarks: Iterable[str]) -> list[str]:
    document: dict[str, Any] = msgspec.to_builtins(table)
    lines = [f"  # {_plain(remark)}" for remark in remarks]
    lines += [f"  - name: {_scalar(table.name)}"]
    for field in ("description", "key", "topic_key", "cursor", "feed", "history"):
        if document[field] is not None:
            lines += [f"    {field}: {_scalar(document[field])}"]
    lines += ["    columns:"]
    for column in document["columns"]:
        fields = {name: value for name, value in column.items() if value is not None and value is not False}
        lines += [f"      - {_scalar(fields)}"]
    return lines


def _scalar(value: Any) -> str:
    """Format a value as one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text.removesuffix("...\n").strip()


def _plain(text: str) -> str:
    """Replace non-printable characters, so that the text stays on its comment line."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _server_id(name: str) -> int:
    return _LOWEST_SERVER_ID + zlib.crc32(name.encode()) % _SERVER_IDS
