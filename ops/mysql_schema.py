"""What MySQL and MariaDB say of keys and references of a database's tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from config.engines.base import Connection


def primary_keys(connection: Connection, database: str) -> defaultdict[str, list[str]]:
    """Return the columns of each table's primary key, in the key's order."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for table, column in text_rows(
        connection,
        "SELECT table_name, column_name FROM information_schema.statistics "
        "WHERE table_schema = %s AND index_name = 'PRIMARY' ORDER BY table_name, seq_in_index",
        database,
    ):
        found[table].append(column)
    return found


def silent_references(connection: Connection, database: str) -> defaultdict[str, list[str]]:
    """Return the tables whose deletions and changes the server carries on to each table, without a word in its log."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for table, parent in text_rows(
        connection,
        "SELECT DISTINCT table_name, referenced_table_name FROM information_schema.referential_constraints "
        "WHERE constraint_schema = %s AND (delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT') "
        "OR update_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT')) ORDER BY 1, 2",
        database,
    ):
        found[table].append(parent)
    return found


def reference_warning(parents: list[str]) -> str:
    """Describe what such references mean for the changes of the table that has them."""
    return (
        f"a foreign key carries deletions or changes in {', '.join(parents)} on to this table, and the database's log "
        "has no word of it: with feed changes, the lake keeps the old rows until `millrace lake reconcile --repair`"
    )


def text_rows(connection: Connection, statement: str, *values: str) -> Iterator[tuple[Any, ...]]:
    """Run a statement and yield its rows; some servers send names as bytes."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        found: Any = cursor.fetchall()
    for row in found:
        yield tuple(value.decode() if isinstance(value, bytes | bytearray) else value for value in row)
