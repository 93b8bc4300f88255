"""Format the two files of a dataset's folder as text. No I/O."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import yaml

from config.definition import Table
from ops.dataset.foreign.draft import TableDraft
from ops.dataset.foreign.read import ForeignTable

_HEAD: Final = """\
# Drafted from the schema of database {database}. Check it: names and types are those of the source, everything
# else is chosen by rules.
#
# feed       jdbc: the tables are read from the database itself. Only the topics of the shop's tables are in the
#            catalogue (streams/topics.py), which the feed `changes` needs.
# cursor     the time column that shows which rows changed: never null, and written by the server at every change
#            (ON UPDATE) or named as if the application does; preferred are those of the server, then those with an
#            index. A table without one is read in full. `python -m batch reconcile` finds deletes in the others.
# topic_key  the first column of the key.
"""
_LOWEST_SERVER_ID: Final = 10_000
_SERVER_IDS: Final = 1_000_000


def definition_text(name: str, database: str, found: Sequence[TableDraft]) -> str:
    """Format the file `definition.yaml`."""
    lines = [_HEAD.format(database=_plain(database))]
    out = [draft for draft in found if draft.table is None]
    if out:
        lines += ["# Tables left out, with the reason:"]
        lines += [f"#   {_plain(draft.name)}: {_plain(reason)}" for draft in out for reason in draft.reasons]
        lines += [""]
    lines += [
        f"name: {_scalar(name)}",
        "engine: mysql",
        f"database: {_scalar(database)}",
        f"lake_prefix: {_scalar(name)}",
    ]
    lines += ["", "# Of the server and all that read its log, only this connector may have this number.", "connector:"]
    lines += [f'  database.server.id: "{_server_id(name)}"', "", "tables:"]
    tables = ["\n".join(_table_lines(draft.table, draft.remarks)) for draft in found if draft.table is not None]
    return "\n".join(lines) + "\n" + "\n\n".join(tables) + "\n"


def schema_text(tables: Iterable[ForeignTable]) -> str:
    """Format the file `schema.sql`: every table as SHOW CREATE TABLE gives it, including those left out."""
    statements = [
        table.create_statement.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1) + ";"
        for table in tables
        if table.create_statement
    ]
    head = "-- As SHOW CREATE TABLE gave it, but for IF NOT EXISTS. Tables may refer to later ones."
    checks = "SET SESSION foreign_key_checks = {};"
    return "\n\n".join([head, checks.format(0), *statements, checks.format(1)]) + "\n"


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
    """Format a value in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text.removesuffix("...\n").strip()


def _plain(text: str) -> str:
    """Format a text so that it stays within its comment."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _server_id(name: str) -> int:
    return _LOWEST_SERVER_ID + zlib.crc32(name.encode()) % _SERVER_IDS
