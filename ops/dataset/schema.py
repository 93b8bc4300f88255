"""Create a dataset's database and tables, and verify that the tables match the definition."""

from __future__ import annotations

from pathlib import Path

from mysql.connector.connection import MySQLConnection

from config.dataset import SCHEMA_FILE
from config.definition import Definition
from ops.database import quoted
from stack.errors import StackError

LOCK_WAIT_S = 20


def create_schema(connection: MySQLConnection, definition: Definition, *, drop: bool = False) -> None:
    """Create the database and its tables if they don't exist; with `drop`, first remove the database and all rows.

    Raises:
        StackError: the schema file is missing, or a table's columns differ from the definition.
    """
    path = Path(definition.folder) / SCHEMA_FILE
    try:
        schema = path.read_text("utf-8")
    except OSError as error:
        raise StackError(f"can't read {path}: {error.strerror}") from error
    database = quoted(definition.database)
    with connection.cursor() as cursor:
        # Without this, another client's open transaction could block us for a day, the server's default.
        cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_WAIT_S}")
        if drop:
            cursor.execute(f"DROP DATABASE IF EXISTS {database}")
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        cursor.execute(f"USE {database}")
        cursor.execute(schema)
        while cursor.nextset():
            pass
    verify_schema(connection, definition)


def verify_schema(connection: MySQLConnection, definition: Definition) -> None:
    """Compare the columns of each table with the definition.

    Raises:
        StackError: tables differ; the message has one line per table.
    """
    columns: dict[str, set[str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s",
            (definition.database,),
        )
        for table_name, column_name in cursor.fetchall():
            columns.setdefault(str(table_name), set()).add(str(column_name))
    found = []
    for table in definition.tables:
        actual = columns.get(table.name, set())
        if actual != set(table.column_names):
            found.append(
                f"table {definition.database}.{table.name} has the columns {_listed(actual)}, "
                f"but the definition names {_listed(set(table.column_names))}"
            )
    if found:
        raise StackError("\n".join([*found, "change the definition or run `millrace dataset init --drop`"]))


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
